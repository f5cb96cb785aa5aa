package proxy

// websocket is the one protocol that an exchange may change to.
const websocket = "websocket"
