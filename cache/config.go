package cache

import (
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"nearcast/proxy/message"
)

// Config is the store's part of the configuration.
type Config struct {
	// Memory is the hard budget in bytes for everything stored: bodies, fields, keys and index. Default 256 MiB, at least 1 MiB. With
	// GOMEMLIMIT set it is reduced to what that leaves room for: see [Config.Fit].
	Memory Size `yaml:"memory"`
	// MaxObject is the largest body that is stored; larger responses pass through. Default 16 MiB, at most Memory.
	MaxObject Size `yaml:"max_object"`
	// Disk is a second tier, which survives a restart. nil: memory only.
	Disk *DiskConfig `yaml:"disk"`
}

// minMemory is the smallest budget.
const minMemory = 1 << 20

// SetDefaults fills in the defaults.
func (c *Config) SetDefaults() { c.Memory, c.MaxObject = 256<<20, 16<<20 }

// Validate calls report with the key and the fault of each value that can't be.
func (c *Config) Validate(report func(key, fault string)) {
	if c.Memory < minMemory {
		report("memory", "must be at least 1MiB")
	}
	if c.MaxObject < 0 || c.MaxObject > c.Memory {
		report("max_object", "must be between 0 and the memory budget")
	}
}

// Policy is one service's part of the configuration.
type Policy struct {
	// Enabled switches the cache on for the service. Default true.
	Enabled bool `yaml:"enabled"`
	// DefaultTTL is the freshness of a cacheable response that states none (no Cache-Control lifetime, no Expires) and gives
	// no ground for a heuristic one. Default 0: such a response is not reused.
	DefaultTTL time.Duration `yaml:"default_ttl"`
	// StaleIfError is how long past its freshness a response may serve when every origin fails (RFC 5861 §4).
	// A stale-if-error directive of the response wins. Default 0.
	StaleIfError time.Duration `yaml:"stale_if_error"`
	// Negative are lifetimes of errors that state none. Default: none, such an error is not stored; at most 24h for a 4xx, 10m for a 5xx.
	Negative NegativeTTLs `yaml:"negative"`
	// Key says what tells stored answers apart.
	Key KeyRules `yaml:"key"`
	// EarlyHints remembers the links of pages and sends them with 103 (RFC 8297) while the next client waits for the page. Default false.
	EarlyHints bool `yaml:"early_hints"`
	// CacheStatus adds the Cache-Status field to responses (RFC 9211): on, off, or full, which adds the key. Default on; true and false mean on and off.
	CacheStatus StatusMode `yaml:"cache_status"`
	// Slice is the size of the pieces in which Range requests fetch and store a resource; resources that are known to be larger than max_object are
	// fetched and stored in slices for every GET. The origin must answer Range requests and give a strong validator. 64KiB to 64MiB, and no more than
	// max_object. Default 0: no slices.
	Slice Size `yaml:"slice"`
	// StaleOnDisconnect is how long past its freshness a response may serve when no origin can be reached, or none answers (RFC 9111
	// §4.2.4). An origin that answers with an error is StaleIfError's. Default 24h; 0: never.
	StaleOnDisconnect time.Duration `yaml:"stale_on_disconnect"`
	// StaleWithSMaxAge lets a response's own stale-while-revalidate and stale-if-error count beside s-maxage, which forbids all stale use
	// otherwise (RFC 9111 §5.2.2.10). Default false.
	StaleWithSMaxAge bool `yaml:"stale_with_s_maxage"`
	// SetCookie says what becomes of responses with Set-Cookie: CookieStore, CookieRefuse or CookieStrip. Default CookieStore.
	SetCookie string `yaml:"set_cookie"`
	// RequestDirectives says whether clients' directives count: DirectivesHonour or DirectivesIgnore. Default DirectivesHonour.
	RequestDirectives string `yaml:"request_directives"`
	// TargetedFields are the response fields that address this cache, in order of precedence: the first that can be parsed and is not
	// empty replaces Cache-Control and Expires (RFC 9213 §2.2). At most 8; empty: none. Default CDN-Cache-Control.
	TargetedFields []string `yaml:"targeted_fields"`
	// TagFields are the response fields by which origins tag objects for purges. Tags are separated as each vendor has it (EachTag), their case does
	// not count; of one object 1000 tags are kept, of 1024 bytes each: with more, every purge of a tag purges it. Default Surrogate-Key and
	// Cache-Tag; empty: no tags. At most 8.
	TagFields []string `yaml:"tag_fields"`
	// ForwardTags passes these fields on to clients, as an edge in front of this one needs it. Default false.
	ForwardTags bool `yaml:"forward_tags"`
	// PurgeFrom are the addresses whose PURGE requests are obeyed, for URLs, tags and prefixes of this service; others get 403. It is the
	// connection's address that counts, or the one in a PROXY protocol header. Default none: PURGE goes to the origin like any other method.
	PurgeFrom []netip.Prefix `yaml:"purge_from"`
	// Compress says which responses are coded, once, for clients that accept it.
	Compress Compress `yaml:"compress"`
}

// What becomes of responses with Set-Cookie.
const (
	// CookieStore: stored with its cookie when the response states its freshness (max-age, s-maxage, Expires) or says public; never on
	// heuristic or default freshness (RFC 9111 §7.3).
	CookieStore = "store"
	// CookieRefuse: never stored.
	CookieRefuse = "refuse"
	// CookieStrip: stored without the cookie, which only the client that caused the fetch gets.
	CookieStrip = "strip"
)

// Whether clients' directives count.
const (
	// DirectivesHonour: all do (RFC 9111 §5.2.1).
	DirectivesHonour = "honour"
	// DirectivesIgnore: for the sake of the origin, only no-store and only-if-cached do. What no client can then do is reload.
	DirectivesIgnore = "ignore"
)

// maxTargeted bounds the targeted fields, which are looked for in every response.
const maxTargeted = 8

// minSlice and maxSlice bound Policy.Slice: smaller slices cost more in requests and index than they save, larger ones would fill the memory.
const minSlice, maxSlice = 64 << 10, 64 << 20

// SetDefaults fills in the defaults.
func (p *Policy) SetDefaults() {
	p.Enabled, p.CacheStatus, p.StaleOnDisconnect = true, StatusOn, 24*time.Hour
	p.SetCookie, p.RequestDirectives, p.TargetedFields = CookieStore, DirectivesHonour, []string{"CDN-Cache-Control"}
	p.TagFields = []string{"surrogate-key", "cache-tag"}
	p.Compress.SetDefaults()
}

// Validate calls report with the key and the fault of each value that can't be.
func (p *Policy) Validate(report func(key, fault string)) {
	if p.DefaultTTL < 0 {
		report("default_ttl", "must not be negative")
	}
	if p.StaleIfError < 0 {
		report("stale_if_error", "must not be negative")
	}
	if p.Slice != 0 && (p.Slice < minSlice || p.Slice > maxSlice) {
		report("slice", "must be 0, for no slices, or between 64KiB and 64MiB")
	}
	if p.StaleOnDisconnect < 0 {
		report("stale_on_disconnect", "must not be negative")
	}
	switch p.SetCookie {
	case CookieStore, CookieRefuse, CookieStrip:
	default:
		report("set_cookie", "must be store, refuse or strip")
	}
	switch p.RequestDirectives {
	case DirectivesHonour, DirectivesIgnore:
	default:
		report("request_directives", "must be honour or ignore")
	}
	if fault := p.targetedFault(); fault != "" {
		report("targeted_fields", fault)
	}
	p.validatePurges(report)
}

func (p *Policy) targetedFault() string {
	if len(p.TargetedFields) > maxTargeted {
		return "must be " + strconv.Itoa(maxTargeted) + " fields at most"
	}
	for i, name := range p.TargetedFields {
		switch {
		case !message.IsToken(name):
			return strconv.Quote(name) + " is not a field name"
		case strings.EqualFold(name, "cache-control"):
			return "must not have Cache-Control, which comes after them anyway"
		case slices.ContainsFunc(p.TargetedFields[:i], func(s string) bool { return strings.EqualFold(s, name) }):
			return name + " is there twice"
		}
	}
	return ""
}

// Size is a number of bytes, written as 512, 64KiB, 256MiB or 2GiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// UnmarshalText parses a size. Fractions, negative numbers and decimal units (kB, MB) are refused: they are too often meant as the binary ones.
func (s *Size) UnmarshalText(text []byte) error {
	t := string(text)
	for _, u := range sizeUnits {
		num, ok := strings.CutSuffix(t, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(num, 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		*s = Size(int64(n) * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is not a size: write a whole number of bytes, KiB, MiB, GiB or TiB, such as 64MiB", t)
}

// String writes the size in the largest unit that divides it.
func (s Size) String() string {
	for i := len(sizeUnits) - 2; i >= 0; i-- {
		if u := sizeUnits[i]; s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(s), 10)
}
