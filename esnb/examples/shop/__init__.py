"""A small shop: orders, payments, products, parcels and customers, written with esnb.

>>> import tempfile
>>> import esnb
>>> from esnb.examples import shop
>>> log = esnb.create(tempfile.mkdtemp() + "/log", zone="Europe/Berlin", clock=shop.Calendar())
>>> done = shop.simulate(log, orders=20)
>>> len({event.stream for event in log.read() if event.category == "order"})
20
>>> log.close()
"""

from esnb.examples.shop.customer import Customer
from esnb.examples.shop.fulfilment import Fulfilment
from esnb.examples.shop.order import AuditedOrder, Order, WebOrder
from esnb.examples.shop.payment import CentPayment, Payment
from esnb.examples.shop.planted import Planted
from esnb.examples.shop.product import AuditedProduct, Product
from esnb.examples.shop.shipment import Shipment
from esnb.examples.shop.simulate import Calendar, Simulated, planted, simulate

__all__ = [
    "AuditedOrder",
    "AuditedProduct",
    "Calendar",
    "CentPayment",
    "Customer",
    "Fulfilment",
    "Order",
    "Payment",
    "Planted",
    "Product",
    "Shipment",
    "Simulated",
    "WebOrder",
    "planted",
    "simulate",
]
