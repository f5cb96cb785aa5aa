package upstream

// Buffered reports whether bytes of the response have come that Read has not yet returned: it would hardly wait.
func (x *exchange) Buffered() bool { return !x.over && x.w > x.r }
