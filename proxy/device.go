package proxy

import (
	"strings"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// withDevice tells the origin the class of the client's device, where that is a part of the cache's key, in the place of what the client says of
// it. Many servers take an underscore for a hyphen.
func withDevice(x *exchange, fields message.Fields) message.Fields {
	if !x.service.policy.Enabled || !x.service.policy.Key.Device {
		return fields
	}
	fields.DeleteFunc(func(f message.Field) bool {
		return len(f.Name) == len(cache.DeviceField) && strings.ReplaceAll(f.Name, "_", "-") == cache.DeviceField
	})
	fields.Add(cache.DeviceField, cache.DeviceClass(x.r.Fields))
	return fields
}
