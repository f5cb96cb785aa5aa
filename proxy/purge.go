package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// purgeSoft is the request field of PURGE that makes it a soft one: "1".
const purgeSoft = "purge-soft"

// purgeSync is how long a purge waits to be on disk.
const purgeSync = 2 * time.Second

// Purge purges what q names; by is who asked, for the log. The error is about the request as a whole: nothing was done then.
func (p *Proxy) Purge(q cache.PurgeRequest, by string) (cache.PurgeResult, error) {
	if p.cache == nil {
		return cache.PurgeResult{}, errors.New("there is no cache")
	}
	if err := q.Check(); err != nil {
		return cache.PurgeResult{}, err
	}
	if q.Service != "" && p.table.named(q.Service) == nil {
		return cache.PurgeResult{}, fmt.Errorf("there is no service %q", q.Service)
	}
	purge := purging{p: p, now: time.Now(), q: &q, by: by}
	purge.result.Items = make([]cache.PurgeItem, 0, len(q.URLs)+len(q.Prefixes)+len(q.Tags)+1)
	if q.All {
		purge.add(cache.PurgeAll, "", p.cache.PurgeAll(purge.now, q.Service, q.Soft), nil)
	}
	for _, u := range q.URLs {
		done, err := purge.url(u)
		purge.add(cache.PurgeURL, u, done, err)
	}
	for _, u := range q.Prefixes {
		done, err := purge.prefix(u)
		purge.add(cache.PurgePrefix, u, done, err)
	}
	for _, tag := range q.Tags {
		done, err := p.cache.PurgeTag(purge.now, q.Service, tag, q.Soft)
		purge.add(cache.PurgeTag, tag, done, err)
	}
	purge.result.Seq = p.cache.PurgeSeq()
	ctx, cancel := context.WithTimeout(p.life, purgeSync)
	defer cancel()
	if err := p.cache.SyncPurges(ctx); err != nil {
		p.log.Warn("a purge holds, and is not yet on disk", "error", err)
	}
	return purge.result, nil
}

// purging is one request for purges on its way.
type purging struct {
	p      *Proxy
	now    time.Time
	q      *cache.PurgeRequest
	by     string
	result cache.PurgeResult
}

// add notes and logs what became of one item.
func (g *purging) add(kind cache.PurgeKind, target string, done cache.Purged, err error) {
	item := cache.PurgeItem{Kind: kind.String(), Target: target, Service: g.q.Service, Soft: g.q.Soft}
	if err != nil {
		item.Error = err.Error()
	} else {
		args := []any{"kind", item.Kind, "target", target, "service", item.Service, "soft", item.Soft, "seq", done.Seq, "by", g.by}
		if done.Objects >= 0 {
			item.Objects = &done.Objects
			args = append(args, "objects", done.Objects)
		}
		g.p.log.Info("purged", args...)
	}
	g.result.Items = append(g.result.Items, item)
}

// url purges a URL under the key by which its service finds it.
func (g *purging) url(raw string) (cache.Purged, error) {
	scheme, authority, target, err := splitURL(raw)
	if err != nil {
		return cache.Purged{}, err
	}
	s := g.p.table.find(hostOf(authority), target.Path)
	if g.q.Service != "" {
		s = g.p.table.named(g.q.Service)
	}
	if s == nil {
		return cache.Purged{}, errors.New("no service has such a host and path")
	}
	r := &message.Request{Method: "GET", Scheme: scheme, Authority: authority, Target: target}
	return g.p.cache.PurgeURL(g.now, s.keyOf(r), g.q.Soft), nil
}

func (g *purging) prefix(raw string) (cache.Purged, error) {
	scheme, authority, _, err := splitURL(raw)
	if err != nil {
		return cache.Purged{}, err
	}
	_, rest, _ := strings.Cut(raw, "://")
	path := ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		path = rest[i:]
	}
	return g.p.cache.PurgePrefix(g.now, g.q.Service, scheme+"://"+authority+path, g.q.Soft)
}

// splitURL is cache.SplitURL with the authority in the form that requests have.
func splitURL(raw string) (scheme, authority string, target message.Target, err error) {
	scheme, authority, target, err = cache.SplitURL(raw)
	if err != nil {
		return "", "", target, err
	}
	authority, ok := canonicalAuthority(scheme, authority)
	if !ok {
		return "", "", target, errors.New("has a malformed host or port")
	}
	return scheme, authority, target, nil
}

// keyOf is the key of a request within the service, as lookup makes it, in memory of its own.
func (s *service) keyOf(r *message.Request) cache.Key { return s.policy.KeyOf(s.name, r, nil) }

// named is the service of that name.
func (t *table) named(name string) *service {
	for _, s := range t.services {
		if s.name == name {
			return s
		}
	}
	return nil
}

// purges reports whether the request is a PURGE that is for this edge.
func (x *exchange) purges() bool { return x.r.Method == "PURGE" && len(x.service.policy.PurgeFrom) > 0 }

// purge obeys a PURGE request of a listed address. With a tag field it names tags; a path or query that ends in "*" is a prefix. Whichever of
// http and https the client came over, both are meant.
func (p *Proxy) purge(x *exchange) error {
	if !listed(x.service.policy.PurgeFrom, x.r.Client.Addr()) {
		return clientError(403, "purge not allowed")
	}
	q, err := purgeRequest(x.r, x.service)
	if err != nil {
		return err
	}
	result, fault := p.Purge(q, x.r.Client.Addr().Unmap().String())
	if fault != nil {
		return &message.Error{Blame: message.BlameClient, Status: 400, Reason: "malformed purge", Err: fault}
	}
	status := 200
	if result.Failed() {
		status = 400
	}
	body, fault := json.Marshal(result)
	if fault != nil {
		return fault
	}
	body = append(body, '\n')
	fields := message.Fields{{Name: "content-type", Value: "application/json"}, {Name: "cache-control", Value: "no-store"}}
	if err := p.writeHeader(x, status, fields, int64(len(body))); err != nil {
		return err
	}
	return p.write(x, body)
}

// listed reports whether one of the networks has the address.
func listed(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, n := range networks {
		if n.Contains(addr) {
			return true
		}
	}
	return false
}

// purgeRequest is what a PURGE asks for. It refers to no memory of the request's.
func purgeRequest(r *message.Request, s *service) (q cache.PurgeRequest, err error) {
	q.Service = s.name
	switch soft := r.Fields.Get(purgeSoft); soft {
	case "", "0":
	case "1":
		q.Soft = true
	default:
		return q, clientError(400, "malformed purge-soft")
	}
	tagged := false
	for _, f := range r.Fields {
		if !s.policy.IsTagField(f.Name) {
			continue
		}
		tagged = true
		for tag := range cache.EachTag(f.Name, f.Value) {
			q.Tags = append(q.Tags, strings.Clone(tag))
		}
	}
	if tagged {
		if r.Target.Path != "/" || r.Target.HasQuery || len(q.Tags) == 0 {
			return q, clientError(400, "malformed purge of tags") // it must not be taken for one of the URL
		}
		return q, nil
	}
	target, prefix := strings.CutSuffix(r.Target.String(), "*")
	for _, scheme := range [...]string{"http", "https"} {
		u := scheme + "://" + r.Authority + target
		if prefix {
			q.Prefixes = append(q.Prefixes, u)
		} else {
			q.URLs = append(q.URLs, u)
		}
	}
	return q, nil
}
