# Keycloak with its options settled at build time, so that it starts on a root file system it cannot write.
FROM quay.io/keycloak/keycloak:26.7.3
RUN /opt/keycloak/bin/kc.sh build --db=dev-mem --health-enabled=true
ENTRYPOINT ["/opt/keycloak/bin/kc.sh"]
