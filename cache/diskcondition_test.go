package cache

import (
	"testing"

	"nearcast/cache/disk"
)

func TestWhatIsTheMatterWithTheDisk(t *testing.T) {
	for _, tt := range []struct {
		status  disk.Status
		want    DiskCondition
		failing bool
	}{
		{disk.Status{State: disk.Loading}, DiskLoading, false},
		{disk.Status{State: disk.Ready}, DiskOK, false},
		{disk.Status{State: disk.Closed}, DiskOK, false},
		{disk.Status{State: disk.Loading, Reason: disk.ReasonSlow}, DiskSlow, true},
		{disk.Status{State: disk.Ready, Reason: disk.ReasonSlow}, DiskSlow, true},
		{disk.Status{State: disk.Degraded, Reason: disk.ReasonFull}, DiskFull, true},
		{disk.Status{State: disk.Degraded, Reason: disk.ReasonReadOnly}, DiskReadOnly, true},
		{disk.Status{State: disk.Degraded, Reason: disk.ReasonFailing}, DiskFailing, true},
		{disk.Status{State: disk.Degraded}, DiskFailing, true},
	} {
		got := conditionOf(tt.status)
		if got != tt.want || got.Failing() != tt.failing {
			t.Errorf("%+v: %v, failing %v; want %v, %v", tt.status, got, got.Failing(), tt.want, tt.failing)
		}
	}
	if got := (*DiskStatus)(nil).Condition(); got != DiskOK || got.Failing() {
		t.Errorf("without a disk: %v", got)
	}
}

func TestEachConditionHasAWordOfItsOwn(t *testing.T) {
	seen := map[string]bool{}
	for c := DiskOK; c <= DiskUnavailable; c++ {
		if seen[c.String()] {
			t.Errorf("%d is %q too", c, c)
		}
		seen[c.String()] = true
	}
}
