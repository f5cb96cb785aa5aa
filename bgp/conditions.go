package bgp

import (
	"fmt"
	"slices"
	"time"
)

// LoadLevel is how much of its capacity the edge uses, as its own monitor judges.
type LoadLevel uint8

// The levels of load. The zero value is no load to speak of: what can't be measured is no reason to act.
const (
	LoadOK LoadLevel = iota
	LoadHigh
	LoadCritical
	numLoadLevels
)

var loadLevelNames = [numLoadLevels]string{"ok", "high", "critical"}

// String is the level as the configuration writes it.
func (l LoadLevel) String() string {
	if l < numLoadLevels {
		return loadLevelNames[l]
	}
	return "unknown level"
}

// MarshalText is String, for JSON.
func (l LoadLevel) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText accepts the names alone.
func (l *LoadLevel) UnmarshalText(b []byte) error {
	for i, name := range loadLevelNames {
		if string(b) == name {
			*l = LoadLevel(i)
			return nil
		}
	}
	return fmt.Errorf("%q is no level of load; write ok, high or critical", b)
}

// Conditions are what must be true of the edge besides its own probe. What they ask for may be lost in every region at once, so on their
// own they never take the last route away; see [LastRegion].
type Conditions struct {
	// HealthyOrigins is how many healthy origins each service needs, in any region.
	HealthyOrigins int `yaml:"healthy_origins"`
	// HealthyRegionalOrigins is how many each service needs in the edge's own region.
	HealthyRegionalOrigins int `yaml:"healthy_regional_origins"`
	// Services are those that count. None: all.
	Services []string `yaml:"services"`
	// MaxLoad is the highest load at which the condition holds.
	MaxLoad LoadLevel `yaml:"max_load"`
	// CertificateValidFor is how much longer every certificate must be valid. 0: it must not have expired.
	CertificateValidFor time.Duration `yaml:"certificate_valid_for"`
	// DiskCache says that the disk tier of the cache must work, where there is one.
	DiskCache bool `yaml:"disk_cache"`
}

// AnnounceWhen is what must be true to hold the route at all.
type AnnounceWhen Conditions

// SetDefaults fills in the defaults.
func (w *AnnounceWhen) SetDefaults() { *w = AnnounceWhen{HealthyOrigins: 1, MaxLoad: LoadCritical} }

// FullWhen is what must be true to hold the route at full preference; without it the route is degraded.
type FullWhen Conditions

// SetDefaults fills in the defaults.
func (w *FullWhen) SetDefaults() {
	*w = FullWhen{HealthyOrigins: 1, MaxLoad: LoadOK, CertificateValidFor: time.Hour, DiskCache: true}
}

// conditions are the two of one prefix.
func (c *Config) conditions(p *PrefixConfig) (announce, full *Conditions) {
	announce, full = (*Conditions)(&c.AnnounceWhen), (*Conditions)(&c.FullWhen)
	if p != nil && p.AnnounceWhen != nil {
		announce = (*Conditions)(p.AnnounceWhen)
	}
	if p != nil && p.FullWhen != nil {
		full = (*Conditions)(p.FullWhen)
	}
	return announce, full
}

// fault is what a decision has against a route; ReasonServing is none.
type fault struct {
	reason Reason
	detail string
}

var noFault = fault{reason: ReasonServing}

// assessSelf says whether the edge itself answers.
func assessSelf(in *Inputs) fault {
	switch {
	case in.Stalled:
		return fault{ReasonStalled, in.StallDetail}
	case in.Self == SelfOK:
		return noFault
	case in.Self == SelfFailing:
		return fault{ReasonSelfFailing, in.SelfDetail}
	}
	return fault{ReasonNotProbed, "the edge itself"}
}

// assess says whether the conditions hold, and if not, what is first in the way.
func (w *Conditions) assess(in *Inputs) fault {
	f := w.assessServices(in.Services)
	if f.reason != ReasonServing && f.reason != ReasonNotProbed {
		return f
	}
	switch {
	case in.Certificate.Known && in.Certificate.Left <= w.CertificateValidFor:
		return fault{ReasonCertificate, in.Certificate.Detail}
	case in.Load > w.MaxLoad:
		return fault{ReasonLoad, in.LoadDetail}
	case w.DiskCache && in.DiskFault != "":
		return fault{ReasonDisk, in.DiskFault}
	}
	return f
}

// assessServices names the first service that is short of origins; one that is for certain goes before one that has not been probed.
func (w *Conditions) assessServices(services []ServiceHealth) fault {
	worst := noFault
	more := 0
	for _, v := range services {
		if len(w.Services) > 0 && !slices.Contains(w.Services, v.Name) {
			continue
		}
		f := w.assessService(v)
		switch {
		case f.reason == ReasonServing:
		case worst.reason == ReasonServing || worst.reason == ReasonNotProbed && f.reason != ReasonNotProbed:
			if worst.reason != ReasonServing {
				more++
			}
			worst = f
		default:
			more++
		}
	}
	if more > 0 {
		worst.detail += fmt.Sprintf(", and %d more", more)
	}
	return worst
}

func (w *Conditions) assessService(v ServiceHealth) fault {
	switch {
	case v.Healthy+v.Unprobed >= w.HealthyOrigins && v.Healthy < w.HealthyOrigins:
		return fault{ReasonNotProbed, fmt.Sprintf("service %s: %d of %d healthy origins, %d not probed yet", v.Name, v.Healthy, w.HealthyOrigins, v.Unprobed)}
	case v.Healthy < w.HealthyOrigins:
		return fault{ReasonOrigins, fmt.Sprintf("service %s: %d of %d healthy origins", v.Name, v.Healthy, w.HealthyOrigins)}
	case v.HealthyRegional < w.HealthyRegionalOrigins:
		return fault{ReasonRegional, fmt.Sprintf("service %s: %d of %d healthy origins in this region", v.Name, v.HealthyRegional, w.HealthyRegionalOrigins)}
	}
	return noFault
}
