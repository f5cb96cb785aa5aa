package front

import "syscall"

// errNoNet is the one error that accept(2) tells of and other systems lack.
const errNoNet = syscall.ENONET
