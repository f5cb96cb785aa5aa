package room

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"nearcast/internal/lab/process"
)

// Tree is the program's process first and then all its descendants that run now.
func (p *Program) Tree() []process.ID {
	parents := map[int]int{} // by process
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if data, err := os.ReadFile(file); err == nil {
			if parent, ok := parentOf(data); ok {
				parents[pid] = parent
			}
		}
	}
	tree := []process.ID{p.ID}
	for i := 0; i < len(tree); i++ {
		for pid, parent := range parents {
			if parent != tree[i].PID {
				continue
			}
			if id, err := process.Identify(pid); err == nil {
				tree = append(tree, id)
			}
		}
	}
	return tree
}

// parentOf takes the parent out of a stat file, proc_pid_stat(5) field 4. The second field is the program's name in brackets, which may
// itself hold blanks and brackets.
func parentOf(stat []byte) (int, bool) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return parent, err == nil
}
