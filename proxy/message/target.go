package message

// Target is a normalised request target.
type Target struct {
	Path  string // begins with "/", or is "*" for OPTIONS *
	Query string // without "?"
	// HasQuery tells "/a?" from "/a".
	HasQuery bool
}
