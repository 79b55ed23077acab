"""What a reply is made from: who speaks, what is remembered, and the messages the model is given. Asks no model."""
