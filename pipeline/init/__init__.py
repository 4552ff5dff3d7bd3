"""`polyvit init DIR`: looks at a folder of media, guesses its tasks, and writes a config for them.

look.py walks the folder within bounds. guess.py makes of that candidates for tasks, and keeps those that the listing
code (media.listing) accepts. tables.py reads the first rows of manifests. sample.py reads some of the media, and
suggests the model's inputs and the recipes. write.py makes the config's text. command.py does all that and prints.
"""
