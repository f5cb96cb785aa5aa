package bgp

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/osrg/gobgp/v4/api"
	"github.com/osrg/gobgp/v4/pkg/apiutil"
	packet "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/osrg/gobgp/v4/pkg/server"
)

// loopback is where the embedded speaker dials from.
const loopback = "127.0.0.1"

// stopTimeout bounds the embedded speaker's end; by then no session is left for it to close.
const stopTimeout = 5 * time.Second

// Next hops in the embedded speaker's table. Each session announces its own; these never leave.
var (
	placeholderIPv4 = netip.MustParseAddr("192.0.0.8") // RFC 7600: a dummy
	placeholderIPv6 = netip.MustParseAddr("100::1")    // RFC 6666: discard-only
)

// engine is the embedded speaker, GoBGP: without listener, without gRPC, without graceful restart.
type engine struct {
	server *server.BgpServer
	config *SpeakerConfig
	has4   bool
	has6   bool
}

// startEngine runs the speaker. Whatever is not its own it neither imports nor exports: an edge with two routers must not become
// a way from one to the other.
func startEngine(ctx context.Context, c *Config, log *slog.Logger) (embedded, error) {
	e := &engine{config: &c.BGP, server: server.NewBgpServer(server.LoggerOption(slog.New(&engineLog{log.Handler()}), nil))}
	e.has4, e.has6 = c.families()
	go e.server.Serve()              // ends with server.Stop
	ctx = context.WithoutCancel(ctx) // it takes no time, and half a start is worse than one that is ended at once
	err := e.server.StartBgp(ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn:        c.BGP.ASN,
		RouterId:   c.BGP.RouterID.String(),
		ListenPort: -1, // none
		Families:   []uint32{0, 1},
	}})
	if err == nil {
		err = e.ownRoutesOnly(ctx)
	}
	if err != nil {
		within(stopTimeout, e.stop)
		return nil, fmt.Errorf("the embedded BGP speaker does not start: %w", err)
	}
	return e, nil
}

func (e *engine) ownRoutesOnly(ctx context.Context) error {
	own := &api.Policy{Name: "own", Statements: []*api.Statement{{
		Name:       "own",
		Conditions: &api.Conditions{RouteType: api.Conditions_ROUTE_TYPE_LOCAL},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ROUTE_ACTION_ACCEPT},
	}}}
	if err := e.server.AddPolicy(ctx, &api.AddPolicyRequest{Policy: own}); err != nil {
		return err
	}
	for _, d := range []api.PolicyDirection{api.PolicyDirection_POLICY_DIRECTION_IMPORT, api.PolicyDirection_POLICY_DIRECTION_EXPORT} {
		err := e.server.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: &api.PolicyAssignment{
			Name:          "global",
			Direction:     d,
			DefaultAction: api.RouteAction_ROUTE_ACTION_REJECT,
			Policies:      []*api.Policy{{Name: "own"}},
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// addPeer has the speaker dial a loopback address. It never learns the router's address or password.
func (e *engine) addPeer(addr netip.Addr, port uint16, c *NeighborConfig) error {
	p := &api.Peer{
		Conf: &api.PeerConf{NeighborAddress: addr.String(), PeerAsn: c.ASN, LocalAsn: e.config.ASN},
		Timers: &api.Timers{Config: &api.TimersConfig{
			HoldTime:               uint64(c.HoldTime / time.Second),
			KeepaliveInterval:      uint64(c.HoldTime / time.Second / 3),
			ConnectRetry:           1,
			IdleHoldTimeAfterReset: 1,
		}},
		Transport: &api.Transport{LocalAddress: loopback, RemotePort: uint32(port)},
	}
	if e.has4 {
		p.AfiSafis = append(p.AfiSafis, afiSafi(api.Family_AFI_IP))
	}
	if e.has6 {
		p.AfiSafis = append(p.AfiSafis, afiSafi(api.Family_AFI_IP6))
	}
	return e.server.AddPeer(context.Background(), &api.AddPeerRequest{Peer: p})
}

func afiSafi(afi api.Family_Afi) *api.AfiSafi {
	return &api.AfiSafi{Config: &api.AfiSafiConfig{Family: &api.Family{Afi: afi, Safi: api.Family_SAFI_UNICAST}, Enabled: true}}
}

func (e *engine) deletePeer(addr netip.Addr) error {
	return e.server.DeletePeer(context.Background(), &api.DeletePeerRequest{Address: addr.String()})
}

// announce adds a route to the table, or replaces it.
func (e *engine) announce(r wish) error {
	p, err := path(r)
	if err != nil {
		return err
	}
	_, err = e.server.AddPath(apiutil.AddPathRequest{Paths: []*apiutil.Path{p}})
	return err
}

func (e *engine) withdraw(r wish) error {
	p, err := path(r)
	if err != nil {
		return err
	}
	return e.server.DeletePath(apiutil.DeletePathRequest{Paths: []*apiutil.Path{p}})
}

// path has the revision as its MED: the speaker sends nothing for a route that is what it had. The sessions make the attributes that
// neighbors see.
func path(r wish) (*apiutil.Path, error) {
	nlri, err := packet.NewIPAddrPrefix(r.Prefix)
	if err != nil {
		return nil, err
	}
	p := &apiutil.Path{Family: packet.RF_IPv4_UC, Nlri: nlri, Age: time.Now().Unix()}
	var hop packet.PathAttributeInterface
	if r.Prefix.Addr().Is4() {
		hop, err = packet.NewPathAttributeNextHop(placeholderIPv4)
	} else {
		p.Family = packet.RF_IPv6_UC
		hop, err = packet.NewPathAttributeMpReachNLRI(p.Family, []packet.PathNLRI{{NLRI: nlri}}, placeholderIPv6)
	}
	if err != nil {
		return nil, err
	}
	p.Attrs = []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(originIGP), hop, packet.NewPathAttributeMultiExitDisc(r.revision)}
	return p, nil
}

// stop ends the speaker and its goroutines.
func (e *engine) stop() { e.server.Stop() }
