package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// ticksPerSecond is the unit of CPU times in /proc: USER_HZ, which is 100 on every architecture that Linux shows to user space. CPU
// times are therefore exact to 10 ms only; measure for seconds.
const ticksPerSecond = 100

// stat is what /proc/PID/stat says of one process, all of its threads included (proc_pid_stat(5)).
type stat struct {
	pid, parent, group int
	user, system       time.Duration
	// reapedUser and reapedSystem are the times of children that ended and were waited for, and of theirs.
	reapedUser, reapedSystem time.Duration
	threads                  int
	started                  uint64 // ticks after boot
	rssPages                 int64
}

// parseStat reads one line of /proc/PID/stat. The command's name is in parentheses and may hold anything, parentheses and spaces too.
func parseStat(line []byte) (s stat, err error) {
	open, shut := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || shut < open {
		return s, errors.New("stat: no command in parentheses")
	}
	if s.pid, err = strconv.Atoi(string(bytes.TrimSpace(line[:open]))); err != nil {
		return s, fmt.Errorf("stat: process ID: %w", err)
	}
	f := bytes.Fields(line[shut+1:]) // f[0] is field 3, the state
	if len(f) < 22 {
		return s, fmt.Errorf("stat: %d fields after the command, want at least 22", len(f))
	}
	number := func(field int) (n int64) {
		n, e := strconv.ParseInt(string(f[field-3]), 10, 64)
		if e != nil && err == nil {
			err = fmt.Errorf("stat: field %d: %w", field, e)
		}
		return n
	}
	ticks := func(field int) time.Duration { return time.Duration(number(field)) * time.Second / ticksPerSecond }
	s.parent, s.group = int(number(4)), int(number(5))
	s.user, s.system, s.reapedUser, s.reapedSystem = ticks(14), ticks(15), ticks(16), ticks(17)
	s.threads, s.started, s.rssPages = int(number(20)), uint64(number(22)), number(24)
	return s, err
}

// parseSwitches reads the context switches of one thread from its /proc/PID/task/TID/status.
func parseSwitches(text []byte) (voluntary, involuntary int64, err error) {
	for line := range bytes.Lines(text) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			continue
		}
		var to *int64
		switch string(name) {
		case "voluntary_ctxt_switches":
			to = &voluntary
		case "nonvoluntary_ctxt_switches":
			to = &involuntary
		default:
			continue
		}
		if *to, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
			return 0, 0, fmt.Errorf("status: %s: %w", name, err)
		}
	}
	return voluntary, involuntary, nil
}
