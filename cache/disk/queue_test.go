package disk

import (
	"slices"
	"testing"
)

func TestAFlushThatIsDoneDoesNotComeBackAfterAFailure(t *testing.T) {
	done, waiting := &op{flushed: make(chan struct{})}, &op{flushed: make(chan struct{})}
	close(done.flushed)
	deletion, put := &op{header: header{kind: kindDelete}}, &op{header: header{kind: kindObject}}
	q := queue{flight: []*op{deletion, done, put}, ops: []*op{waiting}, deletes: 1, puts: 1}
	dropped := q.restore()
	if !slices.Equal(q.ops, []*op{deletion, waiting}) || len(q.flight) != 0 {
		t.Errorf("%d wait and %d are in flight, want the deletion and the flush that somebody waits for", len(q.ops), len(q.flight))
	}
	if !slices.Equal(dropped, []*op{put}) || q.puts != 0 || q.deletes != 1 {
		t.Errorf("%d dropped, %d puts, %d deletions", len(dropped), q.puts, q.deletes)
	}
}
