package upstream

import "net"

// beginning is an HTTP/2 connection of which it is to be noticed when the origin's first frame, its settings, has been acted on: it was in
// what the first read brought, and when there is a second, that is used up.
type beginning struct {
	net.Conn
	reads int    // of the one goroutine that reads
	over  func() // may be called again
}

func (b *beginning) Read(p []byte) (int, error) {
	if b.reads++; b.reads == 2 {
		b.over()
	}
	n, err := b.Conn.Read(p)
	if err != nil {
		b.over()
	}
	return n, err
}
