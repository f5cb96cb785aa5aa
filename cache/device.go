package cache

import (
	"strings"

	"nearcast/proxy/message"
)

// DeviceField is the request field that tells the origin the class, where it is part of the key.
const DeviceField = "x-device-class"

// deviceBytes bounds how much of a User-Agent is read.
const deviceBytes = 512

// DeviceClass is "tablet", "mobile" or "desktop", by the first that holds:
//
//   - User-Agent has "iPad", "Tablet", "Kindle" or "Silk/", or "Android" without "Mobi": tablet;
//   - Sec-CH-UA-Mobile is ?1, or User-Agent has "Mobi", which all browsers on phones have: mobile;
//   - everything else, the lack of both fields included: desktop.
//
// Names are compared with their case; the first 512 bytes of User-Agent are read.
func DeviceClass(f message.Fields) string {
	ua := f.Get("user-agent")
	if len(ua) > deviceBytes {
		ua = ua[:deviceBytes]
	}
	mobile := strings.Contains(ua, "Mobi")
	switch {
	case strings.Contains(ua, "iPad"), strings.Contains(ua, "Tablet"), strings.Contains(ua, "Kindle"), strings.Contains(ua, "Silk/"),
		strings.Contains(ua, "Android") && !mobile && f.Get("sec-ch-ua-mobile") != "?1":
		return "tablet"
	case mobile, f.Get("sec-ch-ua-mobile") == "?1":
		return "mobile"
	}
	return "desktop"
}
