// Package archtest holds the import diagram: which package of ours may import which, and why. Its test reads the imports from the
// files themselves, since what `go list` says is kept in the test cache when another package changes.
package archtest

// rule says what the packages that match a pattern may import of ours. Patterns are paths below the module; "x/..." is x and all
// below it, "..." is everything. What lies below a package is not its own: its rule names that too.
type rule struct {
	packages []string
	may      []string
	because  string
}

// rules are tried from the top; the first that matches a package is the package's own. Every package must have one.
var rules = []rule{
	{[]string{"proxy/message/..."}, []string{"proxy/message/..."},
		"the seam between all the others stands on nothing"},
	{[]string{"cache/modeltest"}, []string{"proxy/message"},
		"a model that shares the rules it checks would agree with their faults"},
	{[]string{"cache/..."}, []string{"cache/...", "proxy/message/..."},
		"caching decides about messages, whoever sends them"},
	{[]string{"health/load"}, nil,
		"what the system says of the load is the same whoever asks"},
	{[]string{"health/..."}, []string{"health/..."},
		"probing knows nothing of what its results are used for"},
	{[]string{"geo/..."}, []string{"geo/..."},
		"places know nothing of what is placed"},
	{[]string{"fleet/keys"}, nil,
		"keys are made of the secret and the time alone"},
	{[]string{"fleet/..."}, []string{"fleet/..."},
		"edges tell each other what others decide from"},
	{[]string{"proxy/h3/flood"}, nil,
		"who is let in depends on what comes, and on nothing that is served"},
	{[]string{"proxy/ticket"}, []string{"fleet/keys"},
		"a ticket is sealed the same whatever is served after it"},
	{[]string{"proxy/h1/...", "proxy/h2/...", "proxy/h3/...", "proxy/upstream/..."},
		[]string{"proxy/h1/...", "proxy/h2/...", "proxy/h3/...", "proxy/upstream/...", "proxy/message/...", "proxy/ticket", "cache", "fleet/keys"},
		"a codec turns bytes into messages and back; an object's encoded block comes from the cache"},
	{[]string{"proxy/front/..."}, []string{"proxy/front/...", "proxy/message/...", "proxy/ticket", "proxy/h1", "proxy/h2", "proxy/h3", "proxy/h3/...", "cache", "fleet/keys"},
		"the sockets hand connections to the front ends and know nothing of routing"},
	{[]string{"proxy"}, []string{"proxy/message/...", "proxy/upstream", "cache/...", "health", "geo"},
		"the pipeline handles messages, whichever front end decoded them"},
	{[]string{"bgp/..."}, []string{"bgp/...", "cache", "health", "geo"},
		"announcing depends on health and never on the proxy"},
	{[]string{"admin/..."}, []string{"admin/...", "cache", "health", "geo"},
		"the operator's side declares what it shows"},
	{[]string{"internal/config"}, []string{"proxy", "proxy/front", "proxy/h3/cid", "bgp", "fleet", "fleet/keys", "admin", "cache", "health", "health/load", "geo"},
		"the configuration composes what the components declare"},
	{[]string{"internal/archtest"}, nil,
		"the diagram is read, not linked"},
	{[]string{"internal/conformance"}, []string{"internal/config", "proxy", "proxy/front", "cache", "health"},
		"what a cache must do is tried on the pipeline as the configuration builds it"},
	{[]string{"internal/loopback"}, nil,
		"the host's addresses know nothing of what is served on them"},
	{[]string{"internal/pki"}, nil,
		"certificates for trials need nothing of the product"},
	{[]string{"bench/load", "bench/process", "bench/compare"}, []string{"bench/load", "bench/process", "bench/compare"},
		"what measures the product does not use its code"},
	{[]string{"internal/lab/...", "internal/demo/...", "bench/..."},
		[]string{"internal/...", "bench/...", "proxy/...", "bgp/...", "fleet/...", "admin/...", "cache/...", "health/...", "geo/..."},
		"what tries the whole out uses the whole"},
	{[]string{"cmd/..."}, []string{"..."},
		"the binary wires everything"},
}

// importers say who alone may import a package, besides itself.
var importers = []rule{
	{[]string{"cmd/..."}, []string{"cmd/..."}, "nothing depends on the wiring"},
	{[]string{"cache/modeltest"}, []string{"cache/modeltest"}, "only tests ask the model"},
	{[]string{"bench/..."}, []string{"cmd/...", "bench/...", "internal/lab/...", "internal/demo/..."}, "the product does not need its measuring"},
	{[]string{"internal/lab/netns", "internal/lab/process"}, []string{"cmd/...", "internal/lab/...", "bench/room"},
		"only what tries out or measures makes namespaces and keeps programs"},
	{[]string{"internal/lab/..."}, []string{"cmd/...", "internal/lab/..."}, "the product does not need its trials"},
	{[]string{"internal/loopback"}, []string{"internal/loopback", "cmd/..."}, "only the wiring changes the host"},
	{[]string{"internal/pki"}, []string{"internal/pki", "internal/lab/...", "internal/demo/...", "bench/...", "cmd/..."}, "the product does not make its own certificates"},
	{[]string{"internal/demo/..."}, []string{"cmd/...", "internal/demo/..."}, "the product does not need its demonstration"},
}
