package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Usage is what processes have cost since they started, or between two readings.
type Usage struct {
	Processes int           // how many there are
	Threads   int           // of all of them
	User      time.Duration // CPU time, of all threads, exact to 10 ms
	System    time.Duration
	RSS       int64 // resident memory in bytes; pages that processes share count for each
	// Voluntary and Involuntary are context switches of the threads that live.
	Voluntary, Involuntary int64
}

// CPU is the whole CPU time.
func (u Usage) CPU() time.Duration { return u.User + u.System }

// Since is what was used from an earlier reading to u. Memory and the numbers of processes and threads are u's own.
func (u Usage) Since(earlier Usage) Usage {
	u.User -= earlier.User
	u.System -= earlier.System
	// Threads that ended took their count with them.
	u.Voluntary = max(0, u.Voluntary-earlier.Voluntary)
	u.Involuntary = max(0, u.Involuntary-earlier.Involuntary)
	return u
}

// Each is the CPU time for one of n pieces of work, 0 for none.
func (u Usage) Each(n int64) time.Duration {
	if n <= 0 {
		return 0
	}
	return u.CPU() / time.Duration(n)
}

// Scope says which processes belong to one that is named.
type Scope uint8

const (
	Alone Scope = iota // only itself, with its threads
	Tree               // itself and its descendants, those that ended included
	Group              // all processes of its process group
)

// Set names processes to be read together.
type Set struct {
	PIDs  []int
	Scope Scope
	proc  string // where proc is mounted, /proc when empty
}

// Empty reports that the set names nothing.
func (s Set) Empty() bool { return len(s.PIDs) == 0 }

func (s Set) root() string {
	if s.proc == "" {
		return "/proc"
	}
	return s.proc
}

// Read reads what the set's processes have cost so far. It fails when a named process is gone; a descendant that ends meanwhile does no
// harm. An empty set costs nothing.
func (s Set) Read() (u Usage, err error) {
	if s.Empty() {
		return u, nil
	}
	members, err := s.members()
	if err != nil {
		return u, err
	}
	for _, m := range members {
		u.Processes++
		u.Threads += m.threads
		u.User += m.user
		u.System += m.system
		u.RSS += m.rssPages * int64(os.Getpagesize())
		if s.Scope == Tree {
			u.User += m.reapedUser
			u.System += m.reapedSystem
		}
		voluntary, involuntary, err := s.switches(m.pid)
		if err != nil {
			return u, err
		}
		u.Voluntary += voluntary
		u.Involuntary += involuntary
	}
	return u, nil
}

// members are the processes of the set, each once.
func (s Set) members() ([]stat, error) {
	var members []stat
	for _, pid := range s.PIDs {
		st, err := s.stat(pid)
		if err != nil {
			if gone(err) {
				err = fmt.Errorf("no process %d", pid)
			}
			return nil, err
		}
		members = append(members, st)
	}
	if s.Scope != Alone {
		all, err := s.all()
		if err != nil {
			return nil, err
		}
		members = related(members, all, s.Scope)
	}
	slices.SortFunc(members, func(a, b stat) int { return a.pid - b.pid })
	return slices.CompactFunc(members, func(a, b stat) bool { return a.pid == b.pid }), nil
}

// related adds to the named processes those that belong to them.
func related(named, all []stat, scope Scope) []stat {
	in := make(map[int]bool)
	for _, n := range named {
		if scope == Group {
			in[n.group] = true
		} else {
			in[n.pid] = true
		}
	}
	for grown := true; grown; {
		grown = false
		for _, a := range all {
			switch {
			case scope == Group && in[a.group]:
				named = append(named, a)
			case scope == Tree && in[a.parent] && !in[a.pid]:
				named, in[a.pid], grown = append(named, a), true, true
			}
		}
	}
	return named
}

// all reads every process there is.
func (s Set) all() (list []stat, err error) {
	entries, err := os.ReadDir(s.root())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		st, err := s.stat(pid)
		if gone(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, st)
	}
	return list, nil
}

func (s Set) stat(pid int) (stat, error) {
	data, err := os.ReadFile(filepath.Join(s.root(), strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(data)
}

// switches sums up the threads' context switches. A process or thread that is gone has none.
func (s Set) switches(pid int) (voluntary, involuntary int64, err error) {
	dir := filepath.Join(s.root(), strconv.Itoa(pid), "task")
	tasks, err := os.ReadDir(dir)
	if gone(err) {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, err
	}
	for _, t := range tasks {
		text, err := os.ReadFile(filepath.Join(dir, t.Name(), "status"))
		if gone(err) {
			continue
		}
		if err != nil {
			return 0, 0, err
		}
		v, i, err := parseSwitches(text)
		if err != nil {
			return 0, 0, err
		}
		voluntary, involuntary = voluntary+v, involuntary+i
	}
	return voluntary, involuntary, nil
}

// gone reports that err says that the process ended.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// Self is this process.
func Self() Set { return Set{PIDs: []int{os.Getpid()}} }
