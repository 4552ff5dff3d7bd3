"""What media look and sound like, in a few bytes and numbers: made by the readers where the media are decoded."""
