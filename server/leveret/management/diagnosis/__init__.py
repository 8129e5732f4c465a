"""Why is it stuck? What keeps the messages of a queue from moving, in sentences made of facts."""
