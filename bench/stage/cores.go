package stage

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"
)

// busyTimes is for how long each core has not been idle since the machine was started, from /proc/stat.
func busyTimes() (map[int]time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return nil, err
	}
	return parseBusy(string(data))
}

// parseBusy reads the lines "cpuN user nice system idle iowait irq softirq steal guest guest_nice", in hundredths of a second (proc_stat(5)).
// Guests' time is in user and nice already; what the hypervisor has stolen is busy, with somebody else.
func parseBusy(stat string) (map[int]time.Duration, error) {
	cores := map[int]time.Duration{}
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) < 9 {
			continue
		}
		number, ok := strings.CutPrefix(f[0], "cpu")
		core, err := strconv.Atoi(number)
		if !ok || err != nil {
			continue
		}
		var busy int64
		for i, text := range f[1:9] {
			ticks, err := strconv.ParseInt(text, 10, 64)
			if err != nil {
				return nil, err
			}
			if i != 3 && i != 4 { // idle, iowait
				busy += ticks
			}
		}
		cores[core] = time.Duration(busy) * 10 * time.Millisecond
	}
	if len(cores) == 0 {
		return nil, errors.New("/proc/stat names no core")
	}
	return cores, nil
}
