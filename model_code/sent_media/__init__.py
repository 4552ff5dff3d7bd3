"""Media as clients send them, in the exported graph: checked, and brought to what ingest stores of the same file.

One module per modality, of pure functions of core TensorFlow ops. Whatever a client may send is either answered as
`polyvit predict` answers for the same file, or refused with a sentence that says what to send. docs/serving.md has the
table of formats. Sizes are bounded by the headers, before anything is decoded.
"""
