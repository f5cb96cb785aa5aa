package proxy

import (
	"strings"

	"nearcast/cache"
	"nearcast/proxy/message"
)

// withDevice tells the origin the class of the client's device, where that is a part of the cache's key, in the place of what the client says of
// it.
func withDevice(x *exchange, fields message.Fields) message.Fields {
	if !x.service.policy.Key.Device {
		return fields
	}
	fields.DeleteFunc(isDevice)
	fields.Add(cache.DeviceField, cache.DeviceClass(x.r.Fields))
	return fields
}

// withoutDevice takes out what the client says of its device, where the class is a part of the key: an answer may vary by the class, and not by that.
func (x *exchange) withoutDevice() {
	if x.service.policy.Key.Device {
		x.r.Fields.DeleteFunc(isDevice)
	}
}

// isDevice reports whether a field is the client's word on its device. Many servers take an underscore for a hyphen.
func isDevice(f message.Field) bool {
	return len(f.Name) == len(cache.DeviceField) && strings.ReplaceAll(f.Name, "_", "-") == cache.DeviceField
}
