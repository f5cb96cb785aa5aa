package load

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Parsers of what the kernel writes. They are strict: what does not look as its documentation says is an error, and so makes a signal Unknown,
// never a wrong number.

// malformed is the error of a parser.
func malformed(what string) error { return fmt.Errorf("%s is not as expected", what) }

// processorTime are the ticks of all processors together since the machine started.
type processorTime struct{ busy, total uint64 }

// parseStat reads the first line of /proc/stat (proc_stat(5)). Time of a lower priority counts as idle, since other work goes before it;
// stolen time counts as busy, since it can't be had. Guests are in user already.
func parseStat(b []byte) (processorTime, error) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	const user, nice, system, idle, iowait, irq, softirq, steal = 0, 1, 2, 3, 4, 5, 6, 7
	if !whole || len(fields) < steal+2 || string(fields[0]) != "cpu" {
		return processorTime{}, malformed("/proc/stat")
	}
	var v [steal + 1]uint64
	for i := range v {
		n, err := parseUint(fields[i+1])
		if err != nil || n > math.MaxUint64/uint64(len(v)) {
			return processorTime{}, malformed("/proc/stat")
		}
		v[i] = n
	}
	busy := v[user] + v[system] + v[irq] + v[softirq] + v[steal]
	return processorTime{busy, busy + v[nice] + v[idle] + v[iowait]}, nil
}

// parseMeminfo reads MemAvailable of /proc/meminfo (proc_meminfo(5)), in bytes.
func parseMeminfo(b []byte) (available uint64, err error) {
	for line := range bytes.Lines(b) {
		value, ok := bytes.CutPrefix(line, []byte("MemAvailable:"))
		if !ok {
			continue
		}
		fields := bytes.Fields(value)
		if len(fields) != 2 || string(fields[1]) != "kB" || line[len(line)-1] != '\n' {
			break
		}
		if n, err := parseUint(fields[0]); err == nil && n <= math.MaxInt64>>10 {
			return n << 10, nil
		}
		break
	}
	return 0, malformed("/proc/meminfo")
}

// parseStatm reads the resident pages of /proc/self/statm (proc_pid_statm(5)).
func parseStatm(b []byte) (pages uint64, err error) {
	fields := bytes.Fields(b)
	if len(fields) == 7 {
		if pages, err = parseUint(fields[1]); err == nil && pages <= math.MaxInt64>>16 {
			return pages, nil
		}
	}
	return 0, malformed("/proc/self/statm")
}

// parsePressure reads "some avg10" of a file of pressure stall information, as a share (accounting/psi.rst).
func parsePressure(b []byte) (float64, error) {
	line, _, whole := bytes.Cut(b, []byte("\n"))
	fields := bytes.Fields(line)
	if whole && len(fields) == 5 && string(fields[0]) == "some" {
		if s, ok := strings.CutPrefix(string(fields[1]), "avg10="); ok {
			percent, err := strconv.ParseFloat(s, 64)
			if err == nil && percent >= 0 && percent <= 100 {
				return percent / 100, nil
			}
		}
	}
	return 0, malformed("pressure")
}

// parseQuota reads cpu.max of a cgroup: how many processors it may use, 0 without a limit (admin-guide/cgroup-v2.rst).
func parseQuota(b []byte) (processors float64, err error) {
	fields := bytes.Fields(b)
	if len(fields) == 2 {
		period, err := parseUint(fields[1])
		if err == nil && period > 0 {
			if string(fields[0]) == "max" {
				return 0, nil
			}
			if quota, err := parseUint(fields[0]); err == nil && quota > 0 {
				return float64(quota) / float64(period), nil
			}
		}
	}
	return 0, malformed("cpu.max")
}

// parseBytes reads a file of one number; ok is false for "max".
func parseBytes(b []byte, name string) (n uint64, ok bool, err error) {
	s := bytes.TrimSuffix(b, []byte("\n"))
	if string(s) == "max" {
		return 0, false, nil
	}
	if n, err = parseUint(s); err != nil || n > math.MaxInt64 {
		return 0, false, malformed(name)
	}
	return n, true, nil
}

// parseKeyed adds up the values of the named keys of a file of lines with a key and a number. Each must be there.
func parseKeyed(b []byte, name string, keys ...string) (sum uint64, err error) {
	found := 0
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(bytes.TrimSuffix(line, []byte("\n")), []byte(" "))
		for _, k := range keys {
			if string(key) != k {
				continue
			}
			n, err := parseUint(value)
			if !ok || err != nil || n > math.MaxInt64/uint64(len(keys)) || line[len(line)-1] != '\n' {
				return 0, malformed(name)
			}
			sum += n
			found++
		}
	}
	if found != len(keys) {
		return 0, malformed(name)
	}
	return sum, nil
}

// parseUint is strconv.ParseUint of decimal digits alone.
func parseUint(b []byte) (uint64, error) {
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, strconv.ErrSyntax
		}
	}
	return strconv.ParseUint(string(b), 10, 64)
}
