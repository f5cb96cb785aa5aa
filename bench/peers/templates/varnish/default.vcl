vcl 4.1;

backend default {
  .host = "{{.Origin.Addr}}";
  .port = "{{.Origin.Port}}";
}
