"""The classifier: words and characters read by a linear SVM, blended with a sentence encoder, calibrated, and knowing when to ask.

Pure: what touches a file or the encoder's wheel stands outside (`services.classification.model_files`, `…encoder`).
"""
