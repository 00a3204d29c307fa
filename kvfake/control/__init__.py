"""Control over HTTP: see `kvfake.control.app`."""
