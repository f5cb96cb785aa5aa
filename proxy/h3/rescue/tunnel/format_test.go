package tunnel

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"testing"

	"nearcast/fleet/keys"
)

// decrypt opens what is after the header, with a key derived as the package comment says.
func decrypt(t *testing.T, d []byte, header int, trunk keys.Key, salt []byte, info string) []byte {
	t.Helper()
	key, err := hkdf.Key(sha256.New, trunk[:], salt, info, 20)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := aes.NewCipher(key[:16])
	aead, _ := cipher.NewGCM(block)
	if salt != nil && !bytes.Equal(d[12:16], key[16:]) {
		t.Fatalf("session % x, not % x", d[12:16], key[16:])
	}
	plain, err := aead.Open(nil, d[header-12:header], d[header:], d[:header])
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// The format is what the package comment says. When this has to be changed, the version has to be.
func TestFormat(t *testing.T) {
	a, b, now := twins(t)
	trunk := ring(t, "secret").First().Key(keys.Tunnel, keys.At(now), "\xa1\xa2\xa3\xa4\xb1\xb2\xb3\xb4")
	salt := append(a.own.sessions[0].id[:], b.own.sessions[0].id[:]...)
	var into [2]Buffer
	a.sequence.Store(0x01020304)
	for _, c := range []struct {
		kind          Kind
		client        Client
		size          int
		header, plain string
	}{
		{Forward, client4, 3, "0e441f02", "c6336407c3cb" + "c000020101bb" + "414243"},
		{Return, client6, 3, "0e481f05", "20010db8000700000000000000000009c3cb" + "20010db800000000000000000000000101bb" + "414243"},
		{Forward, client4, 1300, "0e441f12", "c6336407c3cb" + "c000020101bb" + "414243"},
	} {
		p := append([]byte("ABC"), make([]byte, c.size-3)...)
		sequence := a.sequence.Load() + 1
		n := a.Seal(now, c.kind, 31, c.client, p, &into)
		d := into[0].Bytes()
		if got := hex.EncodeToString(d[:12]); got != c.header+"a1a2a3a4b1b2b3b4" {
			t.Errorf("header %s", got)
		}
		if sequenceOf(d) != sequence || !bytes.Equal(d[16:21], []byte{0, 0, 1, 2, 3}) {
			t.Errorf("sequence % x", d[16:22])
		}
		plain := decrypt(t, d, 22, trunk, salt, "nearcast tunnel v1 packets")
		if got := hex.EncodeToString(plain[:min(len(plain), len(c.plain)/2)]); got != c.plain {
			t.Errorf("contents %s", got)
		}
		if n == 2 {
			d = into[1].Bytes()
			if sequenceOf(d) != sequence+1 || d[3] != 0x22 {
				t.Errorf("second half % x", d[:22])
			}
			if plain := decrypt(t, d, 22, trunk, salt, "nearcast tunnel v1 packets"); len(plain) != 650 {
				t.Errorf("%d octets in the second half", len(plain))
			}
		}
	}

	// The second of the two is a probe of the path.
	d := a.Tick(now, Hello{State: 1, Instance: 0xee, Parameters: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}})[0]
	if got := hex.EncodeToString(d[:12]); got != "0e410000a1a2a3a4b1b2b3b4" || keys.At(now)&3 != 1 {
		t.Errorf("header %s in epoch %d", got, keys.At(now))
	}
	plain := decrypt(t, d, 24, trunk, nil, "nearcast tunnel v1 hello")
	for i, n := range []nonce{a.own.process, a.own.sessions[0].id, a.own.challenge, a.theirs.challenge, b.own.sessions[0].id} {
		if !bytes.Equal(plain[16*i:16*i+16], n[:]) {
			t.Errorf("nonce %d", i)
		}
	}
	if plain[87] != byte(a.own.number)-1 || plain[95] != byte(a.theirs.newest) || a.theirs.newest == 0 {
		t.Errorf("numbers % x", plain[80:96])
	}
	if got := hex.EncodeToString(plain[96:]); got != "00000000"+"0000000000000000"+"00005021"+"00"+"01"+"ee"+"0102030405060708"+"00"+"00" {
		t.Errorf("the rest: %s", got)
	}
}
