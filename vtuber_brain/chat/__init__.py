"""Where chat comes in: the sources and their protocol, the bounded inbox between them and the model, and two clients
(the recorded-stream player and the viewer's terminal). Nothing here judges a message or knows the model.
"""
