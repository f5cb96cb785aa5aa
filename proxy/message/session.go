package message

// Session is a connection that is being served.
type Session interface {
	// Serve serves the connection until it has ended, and returns false; nothing of it is left then. When nothing has come from the client
	// for a while it returns true: it is to be called again at once, best on a new goroutine, as the stack of the one that served
	// is many times larger than what is needed to wait. It must be called until it returns false.
	Serve() (rests bool)
}
