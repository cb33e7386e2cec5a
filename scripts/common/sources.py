SPLITS = ("train", "validation", "test")
