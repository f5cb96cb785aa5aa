package front

// AcceptQueue is how many connections wait in the kernel to be accepted on one TCP listener, and how many may: when it is full, attempts to
// connect are dropped.
type AcceptQueue struct {
	Listener string // its name
	Waiting  int
	Limit    int
}

// AcceptQueues reads the queues of the TCP listeners. It fails with errors.ErrUnsupported where the system does not tell, and without any listener
// that is open there are none.
func (f *Front) AcceptQueues() ([]AcceptQueue, error) {
	queues := make([]AcceptQueue, 0, len(f.tcp))
	for _, l := range f.tcp {
		if l.closing.Load() {
			continue
		}
		q, err := acceptQueue(l.ln)
		if err != nil {
			return nil, err
		}
		q.Listener = l.info.Name
		queues = append(queues, q)
	}
	return queues, nil
}

// Connections are the client connections that are open and how many may be; limit is 0 without one.
func (f *Front) Connections() (open, limit int64) {
	return f.open.Load(), int64(f.limits.MaxConnections)
}
