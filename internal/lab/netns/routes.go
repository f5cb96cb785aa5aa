package netns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// RouteChange is a change of the kernel's routing table: the moment from which packets go another way.
type RouteChange struct {
	At      time.Time
	Prefix  netip.Prefix
	Removed bool
}

// RouteWatch records the route changes of a namespace.
type RouteWatch struct {
	socket *os.File
	done   chan struct{}
	wake   chan struct{} // capacity 1, after something was recorded

	mu      sync.Mutex
	changes []RouteChange
}

// maxChanges bounds what a watch records. A lab's scenario sees a few dozen.
const maxChanges = 100_000

// WatchRoutes begins to record. The caller closes the watch.
func (n Namespace) WatchRoutes() (*RouteWatch, error) {
	var fd int
	err := n.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		if err != nil {
			return err
		}
		const groups = unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_ROUTE
		if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("watch the routes of %s: %w", n, err)
	}
	w := &RouteWatch{socket: os.NewFile(uintptr(fd), "netlink"), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	go w.run()
	return w, nil
}

// Changes returns what was recorded so far of a prefix.
func (w *RouteWatch) Changes(prefix netip.Prefix) []RouteChange {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []RouteChange
	for _, c := range w.changes {
		if c.Prefix == prefix {
			found = append(found, c)
		}
	}
	return found
}

// Await returns once each prefix has changed after a moment: when the last of them did so for the first time. Only one caller may wait.
func (w *RouteWatch) Await(ctx context.Context, after time.Time, prefixes ...netip.Prefix) (time.Time, error) {
	for {
		last, missing := time.Time{}, 0
		for _, p := range prefixes {
			at := w.Changes(p)
			i := slices.IndexFunc(at, func(c RouteChange) bool { return c.At.After(after) })
			if i < 0 {
				missing++
			} else if at[i].At.After(last) {
				last = at[i].At
			}
		}
		if missing == 0 {
			return last, nil
		}
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("%d of %d routes have not changed: %w", missing, len(prefixes), context.Cause(ctx))
		case <-w.wake:
		}
	}
}

// Close ends the watch.
func (w *RouteWatch) Close() {
	_ = w.socket.Close()
	<-w.done
}

func (w *RouteWatch) run() {
	defer close(w.done)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.socket.Read(buf)
		if errors.Is(err, unix.ENOBUFS) {
			continue // the kernel dropped some; what was recorded stands
		}
		if err != nil {
			return
		}
		now := time.Now()
		w.mu.Lock()
		for _, c := range parseRouteChanges(buf[:n]) {
			if c.At = now; len(w.changes) < maxChanges {
				w.changes = append(w.changes, c)
			}
		}
		w.mu.Unlock()
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

const (
	messageHeader = unix.SizeofNlMsghdr
	routeHeader   = unix.SizeofRtMsg
	attrHeader    = unix.SizeofRtAttr
)

// parseRouteChanges reads netlink messages, rtnetlink(7), without their time. What is not a whole route message is passed over.
func parseRouteChanges(data []byte) []RouteChange {
	var changes []RouteChange
	for len(data) >= messageHeader {
		length := int(binary.NativeEndian.Uint32(data))
		kind := binary.NativeEndian.Uint16(data[4:])
		if length < messageHeader || length > len(data) {
			break
		}
		if kind == unix.RTM_NEWROUTE || kind == unix.RTM_DELROUTE {
			if prefix, ok := parseDestination(data[messageHeader:length]); ok {
				changes = append(changes, RouteChange{Prefix: prefix, Removed: kind == unix.RTM_DELROUTE})
			}
		}
		data = data[min(align(length), len(data)):]
	}
	return changes
}

// parseDestination reads struct rtmsg and the attributes after it.
func parseDestination(data []byte) (netip.Prefix, bool) {
	if len(data) < routeHeader {
		return netip.Prefix{}, false
	}
	bits := int(data[1])
	for data = data[routeHeader:]; len(data) >= attrHeader; {
		length := int(binary.NativeEndian.Uint16(data))
		if length < attrHeader || length > len(data) {
			break
		}
		if binary.NativeEndian.Uint16(data[2:]) == unix.RTA_DST {
			addr, ok := netip.AddrFromSlice(data[attrHeader:length])
			prefix := netip.PrefixFrom(addr, bits)
			return prefix, ok && prefix.IsValid()
		}
		data = data[min(align(length), len(data)):]
	}
	return netip.Prefix{}, false
}

func align(n int) int { return (n + 3) &^ 3 }
