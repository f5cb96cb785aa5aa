package fleet

// Level is how an edge holds a prefix's route, the least first.
type Level uint8

// The levels. Unknown stands for words of newer versions too.
const (
	LevelUnknown   Level = iota
	LevelWithdrawn       // not announced
	LevelDraining        // announced, and on its way to be withdrawn
	LevelDegraded        // announced behind the other edges: what can be served is
	LevelFull            // announced at full preference
)

var levelNames = [...]string{"unknown", "withdrawn", "draining", "degraded", "full"}

func (l Level) String() string {
	if int(l) >= len(levelNames) {
		l = LevelUnknown
	}
	return levelNames[l]
}

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name. A word that this version does not have is unknown, and no error: the rest of what a newer edge
// says is still of use.
func (l *Level) UnmarshalText(text []byte) error {
	*l = LevelUnknown
	for i, name := range levelNames {
		if name == string(text) {
			*l = Level(i)
		}
	}
	return nil
}
