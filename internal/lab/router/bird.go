package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bird talks to BIRD 2 through its control socket.
type bird struct{ cfg Config }

func (b *bird) file(name string) string { return filepath.Join(b.cfg.Dir, name) }

func (b *bird) Prepare() ([]Program, error) {
	conf, err := render(BIRD, b.cfg)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(b.file("bird.conf"), conf, 0o644); err != nil {
		return nil, err
	}
	return []Program{{
		Name: "bird",
		Args: []string{"bird", "-f", "-c", b.file("bird.conf"), "-s", b.file("bird.ctl")},
	}}, nil
}

func (b *bird) Configure(ctx context.Context) error {
	return poll(ctx, func() error { _, err := b.command(ctx, "show status"); return err })
}

func (b *bird) Route(ctx context.Context, prefix netip.Prefix) (Route, error) {
	lines, err := b.command(ctx, "show route all for "+prefix.String())
	var refused *birdError
	if errors.As(err, &refused) && refused.code == birdNoRoute {
		return Route{}, nil
	}
	if err != nil {
		return Route{}, err
	}
	return parseBirdRoute(lines, prefix)
}

func (b *bird) Session(ctx context.Context, edge netip.Addr) (Session, error) {
	name, err := b.protocol(edge)
	if err != nil {
		return Session{}, err
	}
	lines, err := b.command(ctx, "show protocols "+name)
	if err != nil {
		return Session{}, err
	}
	return parseBirdSession(lines)
}

func (b *bird) ClearSession(ctx context.Context, edge netip.Addr) error {
	name, err := b.protocol(edge)
	if err == nil {
		_, err = b.command(ctx, "restart "+name)
	}
	return err
}

// protocol is what the configuration calls the session with that edge.
func (b *bird) protocol(edge netip.Addr) (string, error) {
	i := slices.IndexFunc(b.cfg.Edges, func(e EdgeSession) bool { return e.Address == edge })
	if i < 0 {
		return "", fmt.Errorf("BIRD of %s has no edge %s", b.cfg.Name, edge)
	}
	return fmt.Sprintf("edge%d", i+1), nil
}

func (b *bird) Console() string { return "birdc -s " + b.file("bird.ctl") }

// command sends one command over a connection of its own.
func (b *bird) command(ctx context.Context, command string) ([]birdLine, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", b.file("bird.ctl"))
	if err != nil {
		return nil, fmt.Errorf("BIRD of %s: %w", b.cfg.Name, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if err := conn.SetDeadline(time.Now().Add(commandTime)); err != nil {
		return nil, err
	}
	r := bufio.NewReader(conn)
	if _, err := readBirdReply(r); err != nil { // the greeting
		return nil, fmt.Errorf("BIRD of %s: %w", b.cfg.Name, err)
	}
	if _, err := io.WriteString(conn, command+"\n"); err != nil {
		return nil, err
	}
	lines, err := readBirdReply(r)
	if err != nil {
		return nil, fmt.Errorf("BIRD of %s: %s: %w", b.cfg.Name, command, err)
	}
	return lines, nil
}

// Reply codes of BIRD's control protocol: below 8000 a table or success, from 8000 a runtime error, from 9000 a parse error.
const (
	birdNoRoute      = 8001
	birdErrors       = 8000
	birdProtocolList = 1002
)

// birdLine is one line of a reply. A continuation line repeats the code of the line before it.
type birdLine struct {
	code int
	text string
}

type birdError struct {
	code int
	text string
}

func (e *birdError) Error() string { return fmt.Sprintf("%s (code %d)", e.text, e.code) }

// readBirdReply reads lines until one whose code is followed by a blank rather than a dash, which is the last.
func readBirdReply(r *bufio.Reader) ([]birdLine, error) {
	const most = 100_000 // lines, against a reply that never ends
	var lines []birdLine
	code := 0
	for len(lines) < most {
		text, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		text = strings.TrimSuffix(text, "\n")
		if rest, ok := strings.CutPrefix(text, " "); ok {
			lines = append(lines, birdLine{code, rest})
			continue
		}
		if len(text) < 5 {
			return nil, fmt.Errorf("a reply line that is not understood: %q", text)
		}
		if code, err = strconv.Atoi(text[:4]); err != nil || text[4] != ' ' && text[4] != '-' {
			return nil, fmt.Errorf("a reply line that is not understood: %q", text)
		}
		if code >= birdErrors {
			return nil, &birdError{code, text[5:]}
		}
		lines = append(lines, birdLine{code, text[5:]})
		if text[4] == ' ' {
			return lines, nil
		}
	}
	return nil, errors.New("the reply has no end")
}

// parseBirdRoute reads the reply to "show route all for PREFIX". BIRD answers with the longest match, so what is not exactly the
// prefix counts as no route. The first line of a path names the prefix only if it is the first path:
//
//	192.0.2.0/24         unicast [edge 2026-01-02 10:11:12.131415] * (100) [AS64500i]
//	                     unicast [fra4 2026-01-02 10:11:12.131415] (100) [AS64500i]
//		BGP.as_path: 64502 64500
//		BGP.next_hop: 10.255.12.2
func parseBirdRoute(lines []birdLine, prefix netip.Prefix) (Route, error) {
	var route Route
	matches := false
	for _, l := range lines {
		text := strings.TrimSpace(l.text)
		if before, after, ok := strings.Cut(l.text, "unicast ["); ok {
			if name := strings.TrimSpace(before); name != "" {
				matches = name == prefix.String()
			}
			if matches {
				_, flags, _ := strings.Cut(after, "]")
				route.Paths = append(route.Paths, Path{Best: strings.HasPrefix(flags, " *")})
			}
			continue
		}
		if !matches || len(route.Paths) == 0 {
			continue
		}
		path := &route.Paths[len(route.Paths)-1]
		if hops, ok := strings.CutPrefix(text, "BGP.next_hop: "); ok {
			hop, _, _ := strings.Cut(hops, " ") // the link-local one follows the global one
			addr, err := netip.ParseAddr(hop)
			if err != nil {
				return Route{}, fmt.Errorf("next hop of %s: %w", prefix, err)
			}
			path.NextHop = addr
		}
		if numbers, ok := strings.CutPrefix(text, "BGP.as_path:"); ok {
			asPath, err := parseASPath(numbers)
			if err != nil {
				return Route{}, fmt.Errorf("AS path of %s: %w", prefix, err)
			}
			path.ASPath = asPath
		}
	}
	return route, nil
}

// parseBirdSession reads the reply to "show protocols NAME": name, protocol, table, state, since (two words), info.
func parseBirdSession(lines []birdLine) (Session, error) {
	for _, l := range lines {
		if fields := strings.Fields(l.text); l.code == birdProtocolList && len(fields) >= 6 {
			info := strings.Join(fields[6:], " ")
			since, err := time.ParseInLocation("2006-01-02 15:04:05.999999", fields[4]+" "+fields[5], time.Local)
			if err != nil {
				return Session{}, fmt.Errorf("time of the session: %w", err)
			}
			return Session{Established: fields[3] == "up" && info == "Established", State: fields[3] + " " + info, Since: since}, nil
		}
	}
	return Session{}, errors.New("the reply lists no protocol")
}

func parseASPath(text string) ([]uint32, error) {
	var path []uint32
	for _, word := range strings.Fields(text) {
		n, err := strconv.ParseUint(word, 10, 32)
		if err != nil {
			return nil, err
		}
		path = append(path, uint32(n))
	}
	return path, nil
}
