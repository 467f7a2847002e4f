"""Power cuts at every flash operation of a recording, decided on paper and armed on the board.

::

    state   the flash after any number of operations, the next one torn or not
    memo    a decision once made is found again by the bytes that it looked at
    paper   ROM and bootloader, run on such a state without a board
    phases  what an update was doing at an operation
    groups  all cut points decided, and put together by what would boot
    routes  the same over the rack's control port, and the arming of one cut
"""
