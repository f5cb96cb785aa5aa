package main

import (
	"errors"

	"nearcast/admin"
	"nearcast/bgp"
)

// orderer takes the orders of the admin listener to the announcer.
type orderer struct{ *edge }

// Drain implements admin.Orderer.
func (o orderer) Drain(d admin.DrainOrder, by string) error {
	err := o.announcer.Drain(bgp.NewDrainOrder(by, d.Why, d.Prefixes), d.Force)
	if errors.Is(err, bgp.ErrLastRegion) {
		return &admin.Refused{Err: err}
	}
	if err == nil {
		o.log.Warn("ordered to drain", "by", by, "why", d.Why, "prefixes", d.Prefixes, "force", d.Force)
	}
	return err
}

// Undrain implements admin.Orderer.
func (o orderer) Undrain(by string) error {
	o.log.Warn("ordered to end the drain, and to forgive flaps", "by", by)
	o.announcer.Undrain()
	return nil
}
