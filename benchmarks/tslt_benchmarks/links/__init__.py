"""Which evidence wins on which link: real rounds of a real pair, replayed over links in virtual time."""
