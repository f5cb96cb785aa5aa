package demo

import "syscall"

// childAttributes give a child its own process group, so that Ctrl-C reaches the demonstration alone and it can stop
// the children in order, and have it killed when the demonstration dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
