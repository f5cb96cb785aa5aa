package quicload

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// watchTime is how often a process is looked at. A connection is known so much later at most.
const watchTime = 50 * time.Millisecond

// socketWatch counts the UDP sockets that a process opens and does not connect: Firefox has one for each of its QUIC connections, and tells
// of these nowhere else.
type socketWatch struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
	opened []time.Time // when each was first seen; read it after stop
}

func watchSockets(pid int) *socketWatch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &socketWatch{cancel: cancel}
	w.wg.Go(func() { w.watch(ctx, "/proc/"+strconv.Itoa(pid)) })
	return w
}

func (w *socketWatch) watch(ctx context.Context, process string) {
	known := map[string]bool{} // by inode; many clients may share a namespace
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for {
		for _, file := range []string{"net/udp", "net/udp6"} {
			data, _ := os.ReadFile(filepath.Join(process, file)) // the process may have ended
			for _, inode := range unconnected(data) {
				if !known[inode] {
					known[inode] = true
					if owns(process, inode) {
						w.opened = append(w.opened, time.Now().Round(0))
					}
				}
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// stop ends the watch. It may be called again.
func (w *socketWatch) stop() {
	w.cancel()
	w.wg.Wait()
}

// number tells records their connections: the sockets that were there at their end, and one more for every change to TCP, of which
// Firefox has connections in reserve.
func (w *socketWatch) number(records []Record) {
	byEnd := make([]*Record, len(records))
	for i := range records {
		byEnd[i] = &records[i]
	}
	slices.SortStableFunc(byEnd, func(a, b *Record) int { return a.End.Compare(b.End) })
	changes, protocol := 0, "h3"
	for _, r := range byEnd {
		if r.Err != "" || r.Protocol == "" {
			continue
		}
		if r.Protocol != protocol && r.Protocol != "h3" {
			changes++
		}
		protocol = r.Protocol
		n, _ := slices.BinarySearchFunc(w.opened, r.End, time.Time.Compare)
		r.Connection = uint64(max(1, n) + changes)
	}
}

// unconnected returns the inodes of the sockets in /proc/net/udp that have a port of their own and no peer.
func unconnected(data []byte) []string {
	var inodes []string
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || !strings.HasSuffix(fields[2], ":0000") {
			continue
		}
		if _, port, ok := strings.Cut(fields[1], ":"); !ok || port == "0000" {
			continue
		}
		if _, err := strconv.ParseUint(fields[9], 10, 64); err == nil {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes
}

// owns reports whether the process has the socket open.
func owns(process, inode string) bool {
	dir := filepath.Join(process, "fd")
	entries, _ := os.ReadDir(dir) // the process may have ended
	want := fmt.Sprintf("socket:[%s]", inode)
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		name, err := os.Readlink(filepath.Join(dir, e.Name()))
		return err == nil && name == want
	})
}
