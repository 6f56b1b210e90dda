"""Text of a peer is made fit for a terminal."""

from tslt_transports.untrusted import printable


def test_text_of_a_peer_cannot_move_the_cursor():
    assert printable("red\x1b[31m\nforged [b]") == "red?[31m?forged [b]"
