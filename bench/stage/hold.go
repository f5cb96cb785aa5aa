package stage

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"nearcast/bench/origin"
	"nearcast/bench/peers"
	"nearcast/bench/table"
)

const (
	// dialling is how many connections are made at a time: as many as a server takes from its queue without losing any.
	dialling = 32
	// settling is how long all connections wait before the memory is read, for what the server does a little later, such as collecting garbage.
	settling = 3 * time.Second
)

// hold opens the load's connections, makes one request on each, has them wait for the time given, calls End, and closes them.
func hold(ctx context.Context, conf *tls.Config, l table.Load, wait time.Duration) error {
	if l.Protocol != peers.HTTP1TLS {
		return fmt.Errorf("idle connections of %s are not measured", l.Protocol)
	}
	conns := make([]net.Conn, l.Connections)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	if err := dialAll(ctx, conf, l, conns); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
	}
	return l.End()
}

// dialAll fills conns.
func dialAll(ctx context.Context, conf *tls.Config, l table.Load, conns []net.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	errs := make([]error, dialling)
	for i := range errs {
		wg.Go(func() {
			for j := i; j < len(conns) && errs[i] == nil && ctx.Err() == nil; j += dialling {
				conns[j], errs[i] = openIdle(ctx, conf, l)
			}
		})
	}
	wg.Wait()
	return errors.Join(ctx.Err(), errors.Join(errs...))
}

// openIdle makes a connection and one request on it.
func openIdle(ctx context.Context, conf *tls.Config, l table.Load) (net.Conn, error) {
	c, err := (&tls.Dialer{Config: conf}).DialContext(ctx, "tcp", l.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })
	defer stop()
	if err := ask(c, l); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// ask makes a request on an HTTP/1.1 connection, which stays open.
func ask(c net.Conn, l table.Load) error {
	if _, err := io.WriteString(c, "GET "+origin.Path(l.Size)+" HTTP/1.1\r\nHost: "+Host+"\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	n, err := io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || n != int64(l.Size):
		return fmt.Errorf("status %d with %d bytes", resp.StatusCode, n)
	case resp.Close:
		return errors.New("the server closes the connection after its first request")
	}
	return nil
}
