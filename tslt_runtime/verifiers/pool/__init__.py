"""A verifier over a pool of replicas: drafts go in, answers come out, and rows stay where they were made."""
