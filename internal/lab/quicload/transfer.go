package quicload

import "time"

// Direction is the way of a transfer.
type Direction string

const (
	Down Direction = "down" // a GET of BulkPath
	Up   Direction = "up"   // a POST to BulkPath
)

// BulkPath is the origin's for transfers: GET with ?size=N bytes, or POST of any number.
const BulkPath = "/bulk"

// Transfer is what came of one.
type Transfer struct {
	Start    time.Time
	Took     time.Duration
	Bytes    int64         // that arrived, as the receiver counts
	Verified bool          // what arrived is what was sent, by its SHA-256
	Stall    time.Duration // the longest time without progress that the client saw
	Err      string        // empty: the whole came
	Protocol string
	Via      string
}
