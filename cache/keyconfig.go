package cache

import (
	"errors"
	"fmt"
	"strings"

	"nearcast/proxy/message"
)

// KeyRules say what, besides service, scheme, host and path, tells stored answers apart. The zero value is the default: the whole URL, and
// nothing else. The origin always gets the whole request: what is left out of the key here must make no difference to its answers, for
// otherwise one client chooses what others get (cache poisoning).
type KeyRules struct {
	// IgnoreHost gives all hosts of the service the same answers. Default false.
	IgnoreHost bool `yaml:"ignore_host"`
	// IgnoreScheme gives http and https the same answers. Default false.
	IgnoreScheme bool       `yaml:"ignore_scheme"`
	Query        QueryRules `yaml:"query"`
	// Headers are request fields that are part of the key, in lower case; at most 16. A field that is absent is another value than an empty one.
	Headers []string `yaml:"headers"`
	// Cookies are the names of cookies that are part of the key; at most 16. All the other cookies never are.
	Cookies []string `yaml:"cookies"`
	// Device makes the class of the client's device part of the key, and tells it to the origin in [DeviceField]. Default false.
	Device bool `yaml:"device"`
}

// QueryRules say which query parameters are part of the key.
type QueryRules struct {
	// Mode is all, none, allow (those of Names alone) or deny (all but those of Names). Default all: the query as it is.
	Mode QueryMode `yaml:"mode"`
	// Names are parameter names, percent-decoded; "utm_*" is every name that begins with "utm_". At most 64.
	Names []string `yaml:"names"`
	// Sort puts parameters in the order of their names; those of one name keep theirs. Default false.
	Sort bool `yaml:"sort"`
}

// QueryMode is how QueryRules use their names.
type QueryMode uint8

const (
	QueryAll   QueryMode = iota // the whole query, as it is
	QueryNone                   // no part of the query
	QueryAllow                  // the parameters that are named
	QueryDeny                   // the parameters that are not named
)

var queryModes = [...]string{QueryAll: "all", QueryNone: "none", QueryAllow: "allow", QueryDeny: "deny"}

// queryUnread is the mode of a word that is none: whoever read it has reported it.
const queryUnread QueryMode = 0xff

// String returns the word of the configuration.
func (m QueryMode) String() string {
	if int(m) < len(queryModes) {
		return queryModes[m]
	}
	return "unknown"
}

// UnmarshalText parses the word of the configuration.
func (m *QueryMode) UnmarshalText(text []byte) error {
	for i, w := range queryModes {
		if string(text) == w {
			*m = QueryMode(i)
			return nil
		}
	}
	*m = queryUnread
	return fmt.Errorf("%q is no query mode: write all, none, allow or deny", text)
}

const (
	maxKeyNames  = 16 // headers, and cookies
	maxQueryRule = 64
)

// Validate calls report with the key and the fault of each value that can't be.
func (k *KeyRules) Validate(report func(key, fault string)) {
	q := &k.Query
	switch named := q.Mode == QueryAllow || q.Mode == QueryDeny; {
	case q.Mode == queryUnread: // what becomes of the names is not known
	case named && len(q.Names) == 0:
		report("query.names", "must have a name with the mode "+q.Mode.String())
	case !named && len(q.Names) > 0:
		report("query.names", "are of use with the modes allow and deny alone")
	}
	if q.Sort && q.Mode == QueryNone {
		report("query.sort", "is of no use with the mode none")
	}
	checkNames("query.names", q.Names, maxQueryRule, checkParameter, report)
	checkNames("headers", k.Headers, maxKeyNames, checkKeyHeader, report)
	checkNames("cookies", k.Cookies, maxKeyNames, checkCookieName, report)
}

// checkNames reports every entry that valid refuses or that is there twice.
func checkNames(key string, names []string, most int, valid func(string) error, report func(key, fault string)) {
	if len(names) > most {
		report(key, fmt.Sprintf("must have at most %d entries", most))
	}
	seen := make(map[string]bool, len(names))
	for i, n := range names {
		at := fmt.Sprintf("%s[%d]", key, i)
		if err := valid(n); err != nil {
			report(at, err.Error())
		} else if seen[n] {
			report(at, "is the same as an earlier one")
		}
		seen[n] = true
	}
}

func checkParameter(name string) error {
	switch before, after, star := strings.Cut(name, "*"); {
	case name == "":
		return errors.New("must not be empty")
	case name == "*":
		return errors.New(`is every parameter: write the mode none or all instead`)
	case star && (after != "" || before == ""):
		return errors.New(`may have a "*" at its end alone, as in "utm_*"`)
	case strings.ContainsAny(name, "&=;"):
		return errors.New(`is a parameter's name alone, without "&", ";", "=" and a value`)
	case strings.Contains(name, "%"):
		return errors.New("is written decoded, without percent escapes")
	}
	return nil
}

// checkKeyHeader refuses fields that can't tell answers apart, each with what to do instead.
func checkKeyHeader(name string) error {
	if !message.IsLowerToken(name) {
		return errors.New("must be the name of a request field in lower case, such as accept-language")
	}
	if strings.HasPrefix(name, "x-forwarded-") {
		name = "forwarded"
	}
	switch name {
	case "cookie":
		return errors.New("would give every client answers of its own: name the cookies under cookies")
	case "host":
		return errors.New("is part of the key already, unless ignore_host is set")
	case "authorization", "proxy-authorization":
		return errors.New("can't be: what is for one user is not stored (RFC 9111 §3.5)")
	case "accept-encoding":
		return errors.New("can't be: codings are told apart by Vary")
	case DeviceField:
		return errors.New("can't be: write device: true")
	case "cache-control", "pragma", "range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
		"connection", "te", "transfer-encoding", "upgrade", "content-length", "expect", "forwarded", "x-real-ip":
		return errors.New("can't be: it is about the connection or the cache, not about what is asked for, or the origin gets another one")
	}
	return nil
}

func checkCookieName(name string) error {
	if !message.IsToken(name) {
		return errors.New("must be the name of a cookie, without its value")
	}
	return nil
}
