package wan

import (
	"bytes"
	"testing"
)

// model is what a ring must behave like, bounded by nothing.
type model struct {
	due    []int64
	packet [][]byte
}

// drive applies a script to a ring and to the model: an even byte pushes a packet of a length taken from it, an odd one pops.
func drive(t *testing.T, size int, script []byte) {
	q, m := newRing(size), model{}
	for step, op := range script {
		if op&1 == 1 {
			check(t, step, q, &m)
			if len(m.due) > 0 {
				q.pop()
				m.due, m.packet = m.due[1:], m.packet[1:]
			}
			continue
		}
		most := size/4 + int(op)
		room := q.reserve(most)
		if room == nil {
			if len(m.due) == 0 && header+most <= size {
				t.Fatalf("step %d: an empty ring of %d refuses %d bytes", step, size, most)
			}
			continue
		}
		if len(room) != most {
			t.Fatalf("step %d: asked for %d bytes, got %d", step, most, len(room))
		}
		for i := range room {
			room[i] = byte(step)
		}
		if op&2 == 2 {
			continue // a read that yielded nothing: reserved, never committed
		}
		n := int(op>>2) % (most + 1)
		q.commit(int64(step), n)
		m.due, m.packet = append(m.due, int64(step)), append(m.packet, bytes.Clone(room[:n]))
	}
	for step := range len(m.due) + 1 {
		check(t, step, q, &m)
		if len(m.due) > 0 {
			q.pop()
			m.due, m.packet = m.due[1:], m.packet[1:]
		}
	}
}

func check(t *testing.T, step int, q *ring, m *model) {
	t.Helper()
	due, packet, ok := q.front()
	if ok != (len(m.due) > 0) {
		t.Fatalf("step %d: front says %v with %d packets queued", step, ok, len(m.due))
	}
	if ok && (due != m.due[0] || !bytes.Equal(packet, m.packet[0])) {
		t.Fatalf("step %d: front is (%d, %x), want (%d, %x)", step, due, packet, m.due[0], m.packet[0])
	}
}

func FuzzRing(f *testing.F) {
	f.Add(uint8(64), []byte{0, 4, 8, 1, 12, 16, 1, 1, 20, 1, 1, 1})
	f.Add(uint8(40), []byte{0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1})
	f.Add(uint8(255), []byte{252, 1, 248, 6, 1, 244, 2, 1, 1})
	f.Fuzz(func(t *testing.T, size uint8, script []byte) { drive(t, header+int(size), script) })
}

func TestRingFillsToTheLastByte(t *testing.T) {
	q := newRing(3 * (header + 10))
	for i := range 3 {
		if q.reserve(10) == nil {
			t.Fatalf("no room for packet %d of three that fit exactly", i)
		}
		q.commit(int64(i), 10)
	}
	if q.reserve(0) != nil {
		t.Error("a full ring has room")
	}
	q.pop()
	if q.reserve(10) == nil {
		t.Error("the room of a popped packet is not reused")
	}
}
