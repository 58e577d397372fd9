# A shop and a bank as Django's tutorials have them: get the object, change it, save().

import os
import uuid

import django
from django.apps import AppConfig
from django.conf import settings


class Shop(AppConfig):
    name = __name__
    label = 'shop'
    path = os.path.dirname(__file__)


settings.configure(
    ALLOWED_HOSTS=['*'],
    DATABASES={'default': {
        'ENGINE': 'django.db.backends.postgresql', 'NAME': os.environ['PGDATABASE'], 'USER': os.environ['PGUSER'],
        'HOST': os.environ['PGHOST'], 'PORT': os.environ['PGPORT'],
        # The same connections serve all requests.
        'OPTIONS': {'pool': {'min_size': 2, 'max_size': 2}},
    }},
    INSTALLED_APPS=[__name__ + '.Shop'],
    DEFAULT_AUTO_FIELD='django.db.models.AutoField',
    MIDDLEWARE=[],
    ROOT_URLCONF=__name__,
    SQLCOMMENTER_WITH_OPENTELEMETRY=True,
    USE_TZ=True,
)
django.setup()

from django.db import OperationalError, connection, models, transaction  # noqa: E402
from django.db.models import F  # noqa: E402
from django.http import JsonResponse  # noqa: E402
from django.shortcuts import get_object_or_404  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import path  # noqa: E402
from opentelemetry import trace  # noqa: E402
from opentelemetry.instrumentation.django import DjangoInstrumentor  # noqa: E402
from opentelemetry.sdk.trace import TracerProvider  # noqa: E402

from race import race  # noqa: E402

trace.set_tracer_provider(TracerProvider())


class Customer(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = 'shop'
        db_table = 'shop_customer'


class Account(models.Model):
    owner = models.ForeignKey(Customer, on_delete=models.CASCADE)
    balance = models.DecimalField(max_digits=10, decimal_places=2)
    note = models.CharField(max_length=50, default='')
    version = models.IntegerField(default=1)

    class Meta:
        app_label = 'shop'
        db_table = 'shop_account'


class Product(models.Model):
    stock = models.PositiveIntegerField()

    class Meta:
        app_label = 'shop'
        db_table = 'shop_product'


# The request that is under way, which thinks where its view says so.
turn = None


#
# The views
#

def buy(request, pk):
    product = get_object_or_404(Product, pk=pk)
    turn.think()
    if product.stock > 0:
        product.stock -= 1
        product.save()


def withdraw(request, pk):
    account = get_object_or_404(Account, pk=pk)
    turn.think()
    account.balance -= int(request.POST['amount'])
    account.save()


@transaction.atomic
def withdraw_atomic(request, pk):
    account = Account.objects.select_related('owner').get(owner__name='customer %d' % pk)
    turn.think()
    account.balance -= int(request.POST['amount'])
    with transaction.atomic():
        account.save(update_fields=['balance'])


def withdraw_values(request, pk):
    balance = Customer.objects.filter(pk=pk).values_list('account__balance', flat=True).get()
    turn.think()
    Account.objects.filter(owner_id=pk).update(balance=balance - int(request.POST['amount']))


def withdraw_bulk(request, pk):
    accounts = list(Account.objects.filter(pk__in=Account.objects.filter(pk=pk).values('pk')))
    turn.think()
    for account in accounts:
        account.balance -= int(request.POST['amount'])
    Account.objects.bulk_update(accounts, ['balance'])


def withdraw_upsert(request, pk):
    customer = Customer.objects.prefetch_related('account_set').get(pk=pk)
    turn.think()
    account = customer.account_set.all()[0]
    account.balance -= int(request.POST['amount'])
    Account.objects.bulk_create([account], update_conflicts=True, unique_fields=['id'], update_fields=['balance'])


def withdraw_iterator(request, pk):
    """Without a transaction its cursor is WITH HOLD."""
    for account in Account.objects.filter(pk=pk).iterator(chunk_size=2):
        turn.think()
        account.balance -= int(request.POST['amount'])
        account.save()


def withdraw_raw(request, pk):
    with connection.cursor() as cursor:
        cursor.execute('SELECT balance FROM shop_account WHERE id = %s', [pk])
        balance, = cursor.fetchone()
        turn.think()
        cursor.execute('UPDATE shop_account SET balance = %s WHERE id = %s RETURNING balance', [balance - int(request.POST['amount']), pk])


def withdraw_without_parameters(request, pk):
    with connection.cursor() as cursor:
        cursor.execute('SELECT balance FROM shop_account WHERE id = %d' % pk)
        balance, = cursor.fetchone()
        turn.think()
        cursor.execute('UPDATE shop_account SET balance = %d WHERE id = %d' % (balance - int(request.POST['amount']), pk))


def annotate(request, pk):
    """Changes another column, and save() writes them all."""
    account = Account.objects.get(pk=pk)
    turn.think()
    account.note = 'seen'
    account.save()


def annotate_alone(request, pk):
    account = Account.objects.get(pk=pk)
    turn.think()
    account.note = 'seen'
    account.save(update_fields=['note'])


def update_or_create(request, pk):
    """Locks the row, but has computed before."""
    balance = Account.objects.get(pk=pk).balance
    turn.think()
    Account.objects.update_or_create(pk=pk, defaults={'balance': balance - int(request.POST['amount'])})


@transaction.atomic
def withdraw_locked(request, pk):
    account = Account.objects.select_for_update().get(pk=pk)
    turn.think()
    account.balance -= int(request.POST['amount'])
    account.save()


def withdraw_f(request, pk):
    account = Account.objects.get(pk=pk)
    turn.think()
    account.balance = F('balance') - int(request.POST['amount'])
    account.save(update_fields=['balance'])


def withdraw_f_update(request, pk):
    account = Account.objects.get(pk=pk)
    turn.think()
    Account.objects.filter(pk=account.pk, balance__gte=1).update(balance=F('balance') - int(request.POST['amount']))


def withdraw_versioned(request, pk):
    while True:
        account = Account.objects.get(pk=pk)
        turn.think()
        if Account.objects.filter(pk=pk, version=account.version).update(
                balance=account.balance - int(request.POST['amount']), version=F('version') + 1):
            return


def withdraw_again(request, pk):
    while True:
        try:
            with transaction.atomic():
                connection.cursor().execute('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ')
                withdraw(request, pk)
                return
        except OperationalError:
            pass


def answered(view):
    """Adds who asked, as far as the database knows it, and what is called a response."""
    def respond(request, pk):
        view(request, pk)
        with connection.cursor() as cursor:
            cursor.execute('SELECT pg_backend_pid()')
            return JsonResponse({'pid': cursor.fetchone()[0]})
    return respond


views = [buy, withdraw, withdraw_atomic, withdraw_values, withdraw_bulk, withdraw_upsert, withdraw_iterator, withdraw_raw,
         withdraw_without_parameters, annotate, annotate_alone, update_or_create, withdraw_locked, withdraw_f, withdraw_f_update, withdraw_versioned, withdraw_again]
urlpatterns = [path('%s/<int:pk>/' % view.__name__, answered(view), name=view.__name__) for view in views]


#
# Who asks
#

def client_of(*middleware):
    """A client of the site with this middleware."""
    settings.MIDDLEWARE = list(middleware)
    client = Client()
    client.handler.load_middleware()
    return client


plain = client_of()
DjangoInstrumentor().instrument()
google = client_of(*settings.MIDDLEWARE, 'google.cloud.sqlcommenter.django.middleware.SqlCommenter')
DjangoInstrumentor().uninstrument()
settings.MIDDLEWARE = []
DjangoInstrumentor().instrument(is_sql_commentor_enabled=True)
otel = client_of(*settings.MIDDLEWARE)


def post(client, view, pk, amount):
    trace_id = uuid.uuid4().hex
    headers = {} if client is plain else {'HTTP_TRACEPARENT': '00-%s-00f067aa0ba902b7-01' % trace_id}
    try:
        answer = client.post('/%s/%d/' % (view.__name__, pk), {'amount': amount}, **headers)
        assert answer.status_code == 200, answer.content
    finally:
        connection.close()
    if client is plain:
        return answer.json()
    return {'trace': trace_id, 'request': '%s/<int:pk>/' % view.__name__}


def both(row, title, outcome, client, first, second=None, waits=False, **told):
    def posted(view, amount):
        def run(its_turn):
            global turn
            turn = its_turn
            return post(client, view, row, amount)
        return run
    race(row, title, outcome, posted(first, 100), posted(second or first, 200), waits, **told)


money = {'read': '1000.00', 'found': '800.00', 'written': '900.00', 'final': '900.00'}
right = {'final': '700.00'}
both(1, 'save()', 'lost', plain, withdraw, **money)
both(2, 'save(), comments of google-cloud-sqlcommenter', 'lost', google, withdraw, **money)
both(3, 'save(), comments of opentelemetry-instrumentation-django', 'lost', otel, withdraw, **money)
both(4, 'the same connections without comments', 'lost', plain, withdraw, **money)
both(5, 'atomic(), select_related()', 'lost', otel, withdraw_atomic, **money)
both(6, 'values_list() of a join, update()', 'lost', otel, withdraw_values, **money)
both(7, 'a subquery, bulk_update()', 'lost', otel, withdraw_bulk, **money)
both(8, 'prefetch_related(), bulk_create(update_conflicts)', 'lost', otel, withdraw_upsert, **money)
both(9, 'iterator(), a cursor WITH HOLD', 'lost', otel, withdraw_iterator, **money)
both(10, 'cursor.execute()', 'lost', google, withdraw_raw, **money)
both(11, 'cursor.execute() without parameters', 'lost', otel, withdraw_without_parameters, **money)
both(12, 'save() of a column that did not change', 'lost', otel, annotate, withdraw, **dict(money, written='1000.00', final='1000.00'))
both(13, 'the stock of a product', 'lost', google, buy, table='shop_product', read='5', found='4', written='4', final='4', confidence='0.7')
both(14, 'save(update_fields)', 'none', otel, annotate_alone, withdraw, final='800.00')
both(15, 'select_for_update()', 'none', otel, withdraw_locked, waits=True, **right)
both(16, 'F()', 'none', otel, withdraw_f, **right)
both(17, 'update() with F()', 'none', otel, withdraw_f_update, **right)
both(18, 'a version column', 'none', otel, withdraw_versioned, **right)
both(19, 'REPEATABLE READ', 'none', otel, withdraw_again, **right)
both(20, 'update_or_create() of what was computed before, which cannot be told', 'none', otel, update_or_create, final='900.00')
