"""The options of the commands, and what their help says: nothing here takes long to import.

Each command is a function, or a group of commands, in a file of its name. It hands what was asked for to ``run``, or to
a function of its name, in the file of the same name one folder above, which is imported only then (`_imported`). Names
that the help lists, such as those of methods, are written here once more; a test compares them.
"""
