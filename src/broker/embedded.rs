//! A throw-away broker inside the process, for the demo. It keeps no delivery promise.
