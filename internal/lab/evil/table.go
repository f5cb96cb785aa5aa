package evil

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"
)

// Flood is what a neighbor sends besides its OPEN: a table of routes, and among them malformed UPDATEs.
type Flood struct {
	Routes    int // at most 1<<24, all different
	Malformed int
	// Pause is the time from one write, of 5000 routes, to the next. 0: as fast as they are taken.
	Pause time.Duration
}

// routesEach is how many routes one UPDATE has, about as in a real table.
const routesEach = 5

// Run accepts sessions from the edge on l and sends it everything. When a session ends before, the next one goes on from there. It returns how many of
// them the edge or the network has ended, the last one until the edge has read all of it. It ends with ctx at the latest, and closes l.
func (f Flood) Run(ctx context.Context, l net.Listener, id Identity) (ended int, err error) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer l.Close()
	for part, parts := 0, f.parts(); part < parts; {
		conn, err := l.Accept()
		if err != nil {
			return ended, fmt.Errorf("waiting for the edge: %w", errors.Join(err, context.Cause(ctx)))
		}
		closing := context.AfterFunc(ctx, func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if Establish(conn, id, holdTime) == nil {
			var kept bool
			if part, kept = f.send(ctx, conn, id, part); !kept {
				ended++
			}
		}
		closing()
		_ = conn.Close()
	}
	return ended, nil
}

// parts is the number of writes that the whole takes.
func (f Flood) parts() int { return 1 + f.Routes/partRoutes }

// partRoutes is how many routes are written at once.
const partRoutes = 5000

// send sends parts, beginning with one, until all are sent or the session ends. It returns the next one, and whether the edge has read everything
// without ending the session.
func (f Flood) send(ctx context.Context, conn net.Conn, id Identity, part int) (next int, kept bool) {
	bad := malformed()
	ended := make(chan bool, 1)
	go func() { ended <- f.listen(conn) }()
	tick := time.NewTicker(max(f.Pause, 1))
	defer tick.Stop()
	parts := f.parts()
	for ; part < parts; part++ {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		out := routes(id, part*partRoutes, min(partRoutes, f.Routes-part*partRoutes))
		for i := part * f.Malformed / parts; i < (part+1)*f.Malformed/parts; i++ {
			out = append(out, bad[i%len(bad)]...)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(append(out, Keepalive()...)); err != nil {
			break
		}
	}
	if part == parts { // whoever has read to the end of this closes: what it says before that is about what came before it
		_, _ = conn.Write(Message(TypeNotification, []byte{6, 4})) // administrative reset, RFC 4486
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	return part, <-ended && part == parts
}

// listen reads what the edge says until the connection's end, and says whether that came without a complaint.
func (f Flood) listen(conn net.Conn) bool {
	for {
		switch kind, _, err := Read(conn); {
		case errors.Is(err, io.EOF) || errors.Is(err, os.ErrDeadlineExceeded):
			return true
		case err != nil || kind == TypeNotification:
			_ = conn.Close()
			return false
		}
	}
}

// malformed are the UPDATEs that are wrong inside a right header, on a session of four-byte AS numbers.
func malformed() [][]byte {
	framed := framing()
	var all [][]byte
	for _, c := range Cases()[1:] {
		if !c.TwoByte && !slices.ContainsFunc(framed, func(f Case) bool { return f.Name == c.Name }) {
			all = append(all, c.Message)
		}
	}
	return all
}

// routes are UPDATEs of n host routes in 10.0.0.0/8 from the given one on, with paths and communities that differ from UPDATE to UPDATE.
func routes(id Identity, from, n int) []byte {
	var out []byte
	for i := from; i < from+n; i += routesEach {
		mix := uint32(i) * 2654435761
		path := binary.BigEndian.AppendUint32([]byte{2, byte(2 + mix%4)}, id.ASN)
		for hop := range mix%4 + 1 {
			path = binary.BigEndian.AppendUint32(path, 64512+(mix>>hop)%1000) // private use, RFC 6996
		}
		communities := binary.BigEndian.AppendUint32(nil, mix)
		var list []byte
		for k := i; k < min(i+routesEach, from+n); k++ {
			list = append(list, 32, 10, byte(k>>16), byte(k>>8), byte(k))
		}
		attributes := slices.Concat(origin, attribute(0x40, 2, path...), attribute(0x40, 3, id.RouterID.AsSlice()...), attribute(0xc0, 8, communities...))
		out = append(out, Update(nil, attributes, list)...)
	}
	return out
}
