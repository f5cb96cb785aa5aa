//go:build !linux

package front

import "syscall"

const errNoNet = syscall.Errno(1<<16 - 1) // none
